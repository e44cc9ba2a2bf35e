// Dark or light: as the system prefers, or as was chosen.
import { effect, signal } from "@preact/signals";
import { settings } from "./state";

/** Changes whenever colours do, for what is drawn on a canvas. */
export const colours = signal(0);

export function start(): void {
  effect(() => {
    const { theme } = settings.value;
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    colours.value = colours.peek() + 1;
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    colours.value += 1;
  });
}

/** What a custom property's colour is now; the canvas knows no custom properties. */
export function colourOf(place: HTMLElement, property: string): string {
  const probe = document.createElement("span");
  probe.style.color = `var(${property})`;
  place.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}
