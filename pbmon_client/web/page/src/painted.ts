// When there is something to see: what nobody waits for comes after that.
import { effect } from "@preact/signals";
import { away, view } from "./state";

/** Fulfilled when the first rows, or why there are none, have been painted. */
export const painted = new Promise<void>((done) => {
  const stop = effect(() => {
    if (view.value === null && away.value === null) return;
    requestAnimationFrame(() => {
      stop();
      setTimeout(done);
    });
  });
});
