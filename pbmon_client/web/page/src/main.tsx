// Starts the page.
import { early } from "./early"; // before the others
import { render } from "preact";
import { followAddress } from "./actions";
import { listen } from "./keyboard";
import { start as past } from "./past";
import { start as receive } from "./receive";
import { start as theme } from "./theme";
import { App } from "./ui/App";

theme();
receive(early);
const root = document.getElementById("page");
if (root !== null) render(<App />, root);
listen();
addEventListener("popstate", followAddress);
past();
