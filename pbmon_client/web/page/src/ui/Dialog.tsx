// A box over the page; Esc, its button and a click beside it close it.
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { table } from "../actions";
import { dialog, type DialogName } from "../state";

interface DialogProps {
  name: DialogName;
  title: string;
  children: ComponentChildren;
}

function Box({ name, title, children }: DialogProps) {
  const box = useRef<HTMLDialogElement>(null);
  useEffect(() => box.current?.showModal(), []);
  // The box goes at once: its event "close" comes later, when another may be open.
  function close(): void {
    if (dialog.value !== name) return;
    box.current?.close(); // until then, nothing else can have the focus
    dialog.value = null;
    table.focus();
  }
  function cancelled(event: Event): void {
    event.preventDefault();
    close();
  }
  return (
    <dialog
      ref={box}
      class={name}
      aria-labelledby={`${name}-title`}
      onCancel={cancelled}
      onClose={close}
      onClick={(event) => event.target === box.current && close()}
    >
      <div class="box">
        <header>
          <h2 id={`${name}-title`}>{title}</h2>
          <button type="button" class="plain close" aria-label="Close" onClick={close}>
            ×
          </button>
        </header>
        <div class="scroller" tabIndex={0}>
          {children}
        </div>
      </div>
    </dialog>
  );
}

export function Dialog(props: DialogProps) {
  return dialog.value === props.name ? <Box {...props} /> : null;
}
