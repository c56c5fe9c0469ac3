// The replay-ratio study.

import { element } from "./nodes.js";

export function ratioSection(payload) {
  return payload.ratio === null ? null : [element("p", {}, "")];
}
