// Small makers of elements and words; text only ever becomes text.
const SVG = "http://www.w3.org/2000/svg";

function make(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) if (value !== null && value !== undefined) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

export const element = (tag, attributes = {}, ...children) => make(document.createElement(tag), attributes, children);
export const shape = (tag, attributes = {}, ...children) => make(document.createElementNS(SVG, tag), attributes, children);

export function size(bytes) {
  if (bytes < 1024) return `${bytes} bytes`;
  const power = Math.min(3, Math.floor(Math.log2(bytes) / 10));
  return `${(bytes / 1024 ** power).toFixed(power > 1 ? 1 : 0)} ${["", "KiB", "MiB", "GiB"][power]}`;
}

export const when = (seconds) => new Date(seconds * 1000).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
export const percent = (share) => (share >= 0.995 ? "over 99 %" : share < 0.005 ? "under 1 %" : `${Math.round(share * 100)} %`);

export function says(job) {
  if (job.state !== "done") return job.detail || job.code || job.state;
  return { fake: "signs of a forgery were found", real: "no sign of a forgery was found", inconclusive: "no answer can be given" }[job.verdict] ?? "not judged";
}
