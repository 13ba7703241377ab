// Elements are built here and nowhere from markup: text of models and documents only ever becomes text nodes.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

export function make(tag, options = {}, ...children) {
  const { class: name, text, ...attributes } = options;
  const element = document.createElement(tag);
  if (name) element.className = name;
  if (text !== undefined) element.textContent = text;
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

// A function that slices a text as the server counts: characters (code points), where JavaScript counts UTF-16 units.
export function slicer(text) {
  const characters = Array.from(text);
  return (start, end) => characters.slice(start, end).join("");
}

// Where in a document a passage stands: its headings without the title, which is shown beside them.
export function placeIn(title, heading) {
  const path = (heading ?? "").split(" > ");
  if (path[0] === title) path.shift();
  return path.join(" > ");
}
