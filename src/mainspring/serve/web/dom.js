// Elements are built here and nowhere from markup: text of models and documents only ever becomes text nodes.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

export function make(tag, options = {}, ...children) {
  const { class: name, text, on = {}, ...attributes } = options;
  const element = document.createElement(tag);
  if (name) element.className = name;
  if (text !== undefined) element.textContent = text;
  for (const [event, handler] of Object.entries(on)) element.addEventListener(event, handler);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

export function icon(path) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 20 20");
  svg.setAttribute("aria-hidden", "true");
  const line = document.createElementNS(SVG, "path");
  line.setAttribute("d", path);
  svg.append(line);
  return svg;
}

// The server counts characters (code points), JavaScript strings count UTF-16 units.
export class Characters {
  constructor(text) {
    this.units = Array.from(text);
  }

  slice(start, end) {
    return this.units.slice(start, end).join("");
  }

  get length() {
    return this.units.length;
  }
}

// Where in a document a passage stands: its headings without the title, which is shown beside them.
export function placeIn(title, heading) {
  const path = (heading ?? "").split(" > ");
  if (path[0] === title) path.shift();
  return path.join(" > ");
}
