// The top line: whose machine this is, what of it is seen, whether the picture is complete.
import { useEffect } from "preact/hooks";
import { act, change, THEMES } from "../actions";
import { clock } from "../format";
import { dialog, paused, place, settings, view } from "../state";
import type { Theme } from "../settings";

const THEME_WORDS: Record<Theme, string> = { system: "Auto", dark: "Dark", light: "Light" };

export function Mark() {
  return (
    <svg class="mark" viewBox="0 0 24 24" aria-hidden="true">
      <path d="M4 14v6M10 9v11M16 4v16M22 12v8" />
    </svg>
  );
}

export function Top() {
  const now = view.value;
  const health = now?.health;
  const host = now?.host;
  useEffect(() => {
    if (host !== undefined) document.title = `${host} · pbmon`;
  }, [host]);
  return (
    <header class="top">
      <h1>
        <Mark />
        pbmon
      </h1>
      {now !== null && (
        <p class="host">
          <strong>{now.host}</strong>
          <span class="scope">{now.scope === "all" ? "every user" : `${now.user}'s processes only`}</span>
        </p>
      )}
      <span class="spring" />
      {now !== null && place.value.time === null && (
        <time class={`clock${paused.value ? " paused" : ""}`}>
          {paused.value && "paused "}
          {clock(now.time_ms)}
        </time>
      )}
      {health !== undefined && (
        <button
          type="button"
          class={`chip ${health.tone}`}
          title="Health: what is lost or unseen, and the cost (H)"
          onClick={() => act("health")}
        >
          {health.text}
        </button>
      )}
      <label class="theme">
        <span class="unseen">Theme</span>
        <select
          value={settings.value.theme}
          onChange={(event) => change({ theme: event.currentTarget.value as Theme })}
        >
          {THEMES.map((theme) => (
            <option key={theme} value={theme}>
              {THEME_WORDS[theme]}
            </option>
          ))}
        </select>
      </label>
      <button
        type="button"
        class="plain help"
        aria-label="Keys and help"
        aria-haspopup="dialog"
        onClick={() => {
          dialog.value = "help";
        }}
      >
        ?
      </button>
    </header>
  );
}
