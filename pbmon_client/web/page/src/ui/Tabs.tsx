// The nine views, in the order of the keys 1 to 9.
import { useEffect, useRef } from "preact/hooks";
import { showView } from "../actions";
import { VIEWS, type ViewName } from "../address";
import { place } from "../state";

export const TITLES: Record<ViewName, string> = {
  processes: "Processes",
  programs: "Programs",
  users: "Users",
  units: "Units",
  connections: "Connections",
  hosts: "Hosts",
  ports: "Ports",
  files: "Files",
  tree: "Tree",
};

export function Tabs() {
  const list = useRef<HTMLElement>(null);
  const { view, within } = place.value;
  // The members of a group are under their group.
  const current = within?.view ?? view;
  useEffect(() => {
    const tab = list.current?.querySelector<HTMLElement>("[aria-current]");
    if (list.current && tab) list.current.scrollLeft = tab.offsetLeft - 24;
  }, [current]);
  return (
    <nav class="tabs" aria-label="Views" ref={list}>
      {VIEWS.map((name, at) => (
        <button
          key={name}
          type="button"
          aria-current={name === current ? "page" : undefined}
          onClick={() => showView(name)}
        >
          {TITLES[name]}
          <kbd aria-hidden="true">{at + 1}</kbd>
        </button>
      ))}
    </nav>
  );
}
