// What must be seen at once: that nothing arrives, and what the daemon lost or cannot count.
import { useEffect, useState } from "preact/hooks";
import { acknowledge } from "../actions";
import { clock, duration } from "../format";
import { away, notices } from "../state";

export function AwayBanner() {
  const gone = away.value;
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    if (gone === null) return undefined;
    setNow(Date.now());
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, [gone]);
  // The region is always there, so that what appears in it is read out.
  return (
    <div role="status" class="banners">
      {gone !== null && (
        <p class="banner away">
          <strong>No data since {clock(gone.sinceMs)}</strong>
          <span aria-hidden="true"> ({duration(now - gone.sinceMs)})</span>
          <span class="why">{gone.message}. This page goes on by itself.</span>
        </p>
      )}
    </div>
  );
}

export function Notices() {
  const shown = notices.value;
  if (shown.length === 0) return null;
  return (
    <div class="banners">
      {shown.slice(0, 3).map((notice) => (
        <p key={notice.key} class={`banner ${notice.tone}`}>
          {notice.text}
        </p>
      ))}
      <button type="button" class="plain dismiss" onClick={acknowledge}>
        Dismiss <kbd>x</kbd>
      </button>
    </div>
  );
}
