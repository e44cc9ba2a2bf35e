// The choice of classes and columns of the view.
import { change } from "../actions";
import type { Column } from "../protocol";
import { toggled } from "../settings";
import * as state from "../state";
import { Dialog } from "./Dialog";

function Box({ on, label, help, flip }: { on: boolean; label: string; help: string; flip: () => void }) {
  return (
    <label class="choice" title={help}>
      <input type="checkbox" checked={on} onChange={flip} />
      <span>{label}</span>
      {help !== "" && <small>{help}</small>}
    </label>
  );
}

function ColumnBox({ column, usual }: { column: Column; usual: boolean }) {
  const { settings, place } = state;
  const view = place.value.view;
  const which = usual ? "hidden" : "added";
  const listed = settings.value[which][view]?.includes(column.name) ?? false;
  function flip(): void {
    const lists = settings.value[which];
    change({ [which]: { ...lists, [view]: toggled(lists[view], column.name) } });
  }
  return <Box on={listed !== usual} label={column.name} help={column.meaning} flip={flip} />;
}

function Lists() {
  const { settings, fields, offered, viewInfo } = state;
  const usual = new Set(viewInfo.value?.columns.map((column) => column.name));
  const others = offered.value.filter((column) => !usual.has(column.name));
  return (
    <>
      <fieldset>
        <legend>Classes of bytes, in every view</legend>
        {[...new Set([...(fields.value?.classes ?? []), "disk"])].map((name) => (
          <Box
            key={name}
            on={!settings.value.classes.includes(name)}
            label={name}
            help=""
            flip={() => change({ classes: toggled(settings.value.classes, name) })}
          />
        ))}
      </fieldset>
      <fieldset>
        <legend>Columns of this view, as far as there is room</legend>
        {offered.value.filter((column) => usual.has(column.name) && column.traffic === null)
          .map((column) => <ColumnBox key={column.name} column={column} usual={true} />)}
      </fieldset>
      {others.length > 0 && (
        <fieldset>
          <legend>Every other field</legend>
          {others.map((column) => (
            <ColumnBox key={column.name} column={column} usual={false} />
          ))}
        </fieldset>
      )}
    </>
  );
}

export function Chooser() {
  return (
    <Dialog name="columns" title="Classes and columns">
      <Lists />
    </Dialog>
  );
}
