// The whole page: what is where.
import { away, opened, paused, place, selected, settings } from "../state";
import { AwayBanner, Notices } from "./Banners";
import { Chooser } from "./Chooser";
import { Detail } from "./Detail";
import { Grid } from "./Grid";
import { Health } from "./Health";
import { Help } from "./Help";
import { Host } from "./Host";
import { PastBanner, TimeDialog } from "./Times";
import { Timeline } from "./Timeline";
import { Tabs } from "./Tabs";
import { Toolbar } from "./Toolbar";
import { Top } from "./Top";

export function App() {
  const detail = selected.value !== null && (settings.value.detail || opened.value);
  const stale = away.value !== null || paused.value;
  return (
    <div class={`app${stale ? " stale" : ""}${place.value.time !== null ? " in-past" : ""}${opened.value ? " opened" : ""}`}>
      <Top />
      <Timeline />
      <PastBanner />
      <AwayBanner />
      <Notices />
      <Host />
      <Tabs />
      <Toolbar />
      <main class="work">
        <Grid />
        {detail && <Detail />}
      </main>
      <TimeDialog />
      <Help />
      <Chooser />
      <Health />
    </div>
  );
}
