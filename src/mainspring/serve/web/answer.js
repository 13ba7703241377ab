// One answer: text as it streams, then its citations, what is to be said about it, and feedback.

import { make, placeIn, slicer } from "./dom.js";
import { feedback } from "./feedback.js";
import { openSource } from "./source.js";

const NOTICES = {
  extracted: [
    "The model was too weak to answer this in its own words.",
    "What you see is the sentence of your documents that fits best, unchanged.",
  ],
  abstained: [
    "No answer: your documents do not support one.",
    "Either they say nothing about this, or the model was too weak to find it.",
  ],
};

export class Answer {
  constructor() {
    this.text = "";
    this.request = null;
    this.body = make("div", { class: "text" }, make("span", { class: "waiting", role: "img", "aria-label": "Waiting" }));
    this.element = make("article", { class: "answer", "aria-label": "Answer", "aria-busy": "true" }, this.body);
  }

  add(text) {
    if (!this.text) this.body.replaceChildren();
    this.text += text;
    this.body.append(text);
  }

  // The whole answer is there.
  end({ kind, citations, passages, text, assistant, confidence }) {
    this.text = text ?? this.text;
    this.element.setAttribute("aria-busy", "false");
    this.body.replaceChildren(...withCitations(this.text, citations));
    if (!this.text) this.body.append(make("p", { class: "faint", text: "The model said nothing." }));
    if (NOTICES[kind]) this.element.append(notice(kind, passages));
    else if (kind === null) this.#say("Answered from the model's memory alone, without your documents.");
    if (typeof confidence === "number") this.#say(`Confidence ${confidence.toFixed(2)}`);
    if (citations.length) this.element.append(sources(citations, passages));
    const cited = new Set(citations.map((citation) => citation.chunk));
    const others = kind === "generated" ? passages.filter((passage) => !cited.has(passage.chunk)) : passages;
    if (others.length) this.element.append(found(others, kind));
    if (assistant) this.element.dataset.assistant = assistant;
    this.element.append(feedback(this.request));
  }

  stop() {
    this.element.setAttribute("aria-busy", "false");
    this.body.querySelector(".waiting")?.remove();
    this.#say("Stopped.");
  }

  fail(message) {
    this.element.setAttribute("aria-busy", "false");
    this.body.querySelector(".waiting")?.remove();
    this.element.append(make("p", { class: "failure", role: "alert", text: message }));
  }

  #say(text) {
    this.element.append(make("p", { class: "faint remark", text }));
  }
}

// Nodes of the text, each cited sentence followed by the numbers of what supports it.
function withCitations(text, citations) {
  const slice = slicer(text);
  const bySentence = Map.groupBy(
    citations.toSorted((a, b) => a.sentence_start - b.sentence_start || a.number - b.number),
    (citation) => `${citation.sentence_start}-${citation.sentence_end}`,
  );
  const nodes = [];
  let done = 0;
  for (const group of bySentence.values()) {
    const { sentence_start: start, sentence_end: end } = group[0];
    nodes.push(slice(done, start));
    const sentence = slice(Math.max(start, done), end);
    const last = sentence.search(/\S{1,24}\s*$/); // a number never stands alone at the start of a line
    nodes.push(make("span", { class: "sentence" }, sentence.slice(0, Math.max(last, 0)),
      make("span", { class: "tail" }, sentence.slice(Math.max(last, 0)), ...group.map((citation) => number(citation)))));
    done = Math.max(done, end);
  }
  nodes.push(slice(done));
  return nodes;
}

function number(citation) {
  const name = `Source ${citation.number}: ${citation.title}`;
  const options = { type: "button", class: "cite", "aria-label": name, title: name, text: citation.number };
  const button = make("button", options);
  button.addEventListener("click", () => openSource(citation, button));
  return button;
}

function notice(kind, passages) {
  const [title, more] = NOTICES[kind];
  const closest = passages.length ? " The passages that came closest are below." : "";
  return make("div", { class: `notice ${kind}`, role: "note" },
    make("strong", { text: title }), make("p", { text: more + closest }));
}

function sources(citations, passages) {
  const headings = new Map(passages.map((passage) => [passage.chunk, passage.heading]));
  const rows = new Map();
  for (const citation of citations) {
    if (!rows.has(citation.number)) rows.set(citation.number, { ...citation, heading: headings.get(citation.chunk) });
  }
  const list = make("ol", { class: "sources", "aria-label": "Sources" });
  for (const citation of [...rows.values()].sort((a, b) => a.number - b.number)) {
    const button = make("button", { type: "button", class: "source-link" },
      make("span", { class: "cite still", text: citation.number }),
      make("span", { class: "source-title", text: citation.title }),
      make("span", { class: "faint", text: placeIn(citation.title, citation.heading) }));
    button.addEventListener("click", () => openSource(citation, button));
    list.append(make("li", {}, button));
  }
  return list;
}

function found(passages, kind) {
  const title = kind === "generated" ? "Other passages that were found" : "Passages that were found";
  const box = make("details", { class: "found" }, make("summary", { text: `${title} (${passages.length})` }));
  if (kind !== "generated") box.open = true;
  for (const passage of passages) {
    const name = [passage.title, placeIn(passage.title, passage.heading)].filter(Boolean).join(" · ");
    const button = make("button", { type: "button", class: "passage" },
      make("span", { class: "passage-name", text: name }), make("span", { class: "passage-text", text: passage.text }));
    button.addEventListener("click", () => openSource({ ...passage, quote: passage.text }, button));
    box.append(button);
  }
  return box;
}
