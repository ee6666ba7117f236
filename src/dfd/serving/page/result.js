// A result as a report: verdict in words, scores over time, pictures, what the detector is. A kind of run is an entry of KINDS.
import { element, percent, says, shape, size } from "/static/element.js";
import { delays, stretches, timeline } from "/static/plots.js";

const KINDS = { views, segments: stretches, delays };
const TITLES = { views: "Scores of faces over time", segments: "Stretches that look forged", delays: "Delay between sound and lips" };

export function result(job, models, file, picture) {
  const told = job.result;
  const report = element("div", { class: "report" }, verdict(told));
  for (const warning of new Set(told.warnings)) report.append(element("p", { class: "notice warn" }, `Mind: ${warning}.`));
  const details = element("details", { open: "" }, element("summary", {}, "What it rests on"));
  if (file && file.type.startsWith("video/")) details.append(player(file));
  for (const run of told.runs) details.append(ofRun(run, told, models, picture));
  details.append(media(job));
  report.append(details);
  return report;
}

function verdict(told) {
  const box = element("div", { class: `verdict ${told.verdict}` }, element("p", {}, element("strong", {}, sentence(told))));
  const run = told.runs.find((each) => each.verdict === told.verdict) ?? told.runs[0];
  if (told.probability !== null) {
    box.append(element("p", {}, `Probability of “fake”: ${percent(told.probability)}, calibrated on validation videos like those of its training.`));
  } else if (told.score !== null) {
    box.append(element("p", {}, `Score ${told.score.toFixed(3)}; higher means more likely fake. It is not a probability: this run was not calibrated.`));
  }
  if (run.operating.false_alarms !== null) box.append(element("p", {}, `At this setting at most ${percent(run.operating.false_alarms)} of real videos like those of its validation are called fake.`));
  if (told.reason) box.append(element("p", {}, `Reason: ${told.reason.detail} (${told.reason.code}).`));
  box.append(scale(told, run));
  return box;
}

function sentence(told) {
  const text = says({ state: "done", verdict: told.verdict });
  return { fake: "Fake: ", real: "Real: ", inconclusive: "Inconclusive: " }[told.verdict] + text + ".";
}

function scale(told, run) {
  const value = told.probability ?? told.score;
  if (value === null || value < 0 || value > 1) return element("span");
  const at = `${(value * 100).toFixed(1)}%`;
  const drawing = shape("svg", { role: "img", "aria-label": `on a scale from real to fake: ${percent(value)}` },
    shape("line", { x1: at, x2: at, y1: "-20%", y2: "120%", stroke: "currentColor", "stroke-width": 4 }));
  return element("div", {}, element("div", { class: "scale" }, drawing), element("div", { class: "ends small" }, element("span", {}, "real"), element("span", {}, "fake")));
}

function ofRun(run, told, models, picture) {
  const box = element("section", {}, element("h4", {}, `${TITLES[run.kind] ?? run.kind}: ${run.run} (${run.model})`));
  if (told.runs.length > 1) box.append(element("p", {}, `${run.run} alone: ${run.verdict}${run.probability === null ? "" : `, ${percent(run.probability)}`}${run.reason ? `; ${run.reason.detail}` : ""}.`));
  const draw = KINDS[run.kind];
  if (draw) box.append(draw(run, told, picture));
  if (run.restored) box.append(element("p", {}, restored(run)));
  const model = models.find((each) => each.id === run.run);
  const about = model ? `Trained on ${model.trained_on}. Verdicts: ${run.operating.origin}. It does not know ${model.unknown}.` : run.operating.origin;
  box.append(element("p", { class: "small" }, about));
  return box;
}

function restored(run) {
  const { sharpness, verdict, score, change } = run.restored;
  if (verdict === null) return `Not restored: the faces are sharp enough (${sharpness?.toFixed(3) ?? "unknown"}).`;
  return `Restored faces: ${verdict}, score ${score.toFixed(3)} (${change >= 0 ? "+" : ""}${change.toFixed(3)}). Restoring changes the traces that detectors look for; the verdict above is on the file as it is.`;
}

function views(run, told, picture) {
  const parts = element("div");
  if (told.media.duration > 0 && run.people.length) parts.append(timeline(run, told.media.duration));
  if (run.artifacts.faces) parts.append(later(picture, run.artifacts.faces.name, strip(run), `faces of the main person that were scored, ${run.artifacts.faces.t.map((t, i) => `at ${t.toFixed(1)} s: ${run.artifacts.faces.score[i].toFixed(2)}`).join("; ")}`, true));
  if (run.artifacts.evidence) parts.append(later(picture, run.artifacts.evidence.name, "What in the most suspect face speaks for “fake”: the face, and the same with strong places bright.", "the most suspect face, and what in it speaks for fake"));
  return parts;
}

const strip = (run) => `Faces of the main person; scores ${run.artifacts.faces.score.map((score) => score.toFixed(2)).join(", ")}.`;

function later(picture, name, caption, text, scrolls = false) {
  const image = element("img", { alt: text, class: scrolls ? "" : "wide" });
  const frame = element("div", scrolls ? { class: "scroll", tabindex: 0, role: "region", "aria-label": "faces" } : {}, image);
  picture(name).then((address) => { image.src = address; }, () => { frame.replaceChildren(element("p", { class: "small" }, "This picture could not be loaded.")); });
  return element("figure", {}, frame, element("figcaption", {}, caption));
}

function player(file) {
  const video = element("video", { controls: "", preload: "metadata", "aria-label": `${file.name}, from this computer` });
  video.src = URL.createObjectURL(file);
  return element("figure", {}, video, element("figcaption", {}, "From this computer; the server has deleted its copy."));
}

function media(job) {
  const { media: told, seconds } = job.result;
  const facts = element("dl");
  const fact = (name, value) => facts.append(element("dt", {}, name), element("dd", {}, value));
  fact("File", `${told.format}, ${told.width}×${told.height}${told.duration ? `, ${told.duration.toFixed(1)} s at ${told.fps.toFixed(2)} frames a second` : ""}, ${size(job.size)}, ${told.sound ? "with sound" : "without sound"}`);
  fact("SHA-256", job.sha256);
  fact("Took", Object.entries(seconds).map(([stage, value]) => `${stage} ${value.toFixed(1)} s`).join(", "));
  return element("section", {}, element("h4", {}, "The file"), facts);
}
