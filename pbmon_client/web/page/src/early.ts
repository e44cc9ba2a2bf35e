// The connection to the server, begun before anything is read, drawn or measured: those wait for
// the browser longer than the server takes to answer.
import { socketAddress } from "./socket";

export const early = new WebSocket(socketAddress(document.baseURI));
