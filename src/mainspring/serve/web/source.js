// The side panel: a stored document, scrolled to the cited place.

import { documentOf } from "./api.js";
import { byId, make, placeIn, slicer } from "./dom.js";

let opener = null;
let latest = 0;

export async function openSource(place, button) {
  const mine = ++latest;
  opener = button;
  byId("source-title").textContent = place.title;
  const where = [place.document, placeIn(place.title, place.heading)];
  byId("source-name").textContent = where.filter((part) => part && part !== place.title).join(" · ");
  byId("source-text").replaceChildren();
  note("");
  byId("source").hidden = false;
  document.body.classList.add("with-source");
  byId("source-title").focus({ preventScroll: true });
  try {
    const source = await documentOf(place.document);
    if (mine !== latest) return; // another source was opened meanwhile
    byId("source-title").textContent = source.title;
    show(source.text, place);
  } catch (error) {
    if (mine === latest) note(error.message);
  }
}

export function closeSource() {
  if (byId("source").hidden) return false;
  latest += 1;
  byId("source").hidden = true;
  document.body.classList.remove("with-source");
  opener?.focus();
  return true;
}

function show(text, { start, end, quote }) {
  const slice = slicer(text);
  let before = slice(0, start);
  if (slice(start, end) !== quote) {
    const found = text.indexOf(quote); // the document was replaced since the answer was given
    if (found < 0) {
      note("This document has changed since the answer was given; the cited text is no longer in it. It read:");
      byId("source-text").append(make("mark", { text: quote }), "\n\n", make("hr"), text);
      return;
    }
    before = text.slice(0, found);
  }
  const mark = make("mark", { text: quote });
  byId("source-text").append(before, mark, text.slice(before.length + quote.length));
  mark.scrollIntoView({ block: "center" });
}

function note(text) {
  byId("source-note").textContent = text;
  byId("source-note").hidden = !text;
}

byId("source-close").addEventListener("click", closeSource);
