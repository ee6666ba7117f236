// Plots as SVG: scores over time per person, forged stretches, delays between sound and lips.
import { element, shape } from "/static/element.js";

const WIDTH = 720, HEIGHT = 190, LEFT = 44, RIGHT = 10, TOP = 10, BOTTOM = 26;

function frame(duration, low, high, label) {
  const x = (t) => LEFT + ((WIDTH - LEFT - RIGHT) * t) / duration;
  const y = (value) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - (value - low) / (high - low));
  const plot = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "plot", role: "img", "aria-label": label });
  for (let i = 0; i <= 4; i++) {
    const value = low + ((high - low) * i) / 4, t = (duration * i) / 4;
    plot.append(shape("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value), class: "grid" }));
    plot.append(shape("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, value.toFixed(2)));
    plot.append(shape("text", { x: x(t), y: HEIGHT - 8, "text-anchor": i === 4 ? "end" : i ? "middle" : "start" }, `${t.toFixed(1)} s`));
  }
  return { plot, x, y };
}

export function timeline(run, duration) {
  const all = run.people.flatMap((person) => person.score);
  const low = Math.min(0, ...all), high = Math.max(1, ...all);
  const label = run.people.map((person, i) => `person ${i + 1}: ${person.score.length} scores from ${Math.min(...person.score).toFixed(2)} to ${Math.max(...person.score).toFixed(2)}`).join("; ");
  const { plot, x, y } = frame(duration, low, high, `scores over time, higher means fake; ${label}`);
  const { band, threshold } = run.operating;
  if (band) plot.append(shape("rect", { x: LEFT, width: WIDTH - LEFT - RIGHT, y: y(Math.min(band[1], high)), height: Math.max(0, y(Math.max(band[0], low)) - y(Math.min(band[1], high))), class: "band" }));
  else plot.append(shape("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y(threshold), y2: y(threshold), class: "threshold" }));
  run.people.forEach((person, i) => {
    const points = person.t.map((t, k) => `${x(t).toFixed(1)},${y(person.score[k]).toFixed(1)}`).join(" ");
    plot.append(shape("polyline", { points, class: `line p${i % 4}` }));
    person.t.forEach((t, k) => plot.append(shape("circle", { cx: x(t), cy: y(person.score[k]), r: 3.5, class: `dot p${i % 4}` }, shape("title", {}, `person ${i + 1}, ${t.toFixed(2)} s: ${person.score[k].toFixed(3)}`))));
  });
  const where = band ? "the shaded band is where no verdict is given" : `the dashed line is the threshold, ${threshold.toFixed(2)}`;
  return element("figure", {}, plot, element("figcaption", {}, `Higher means more likely fake; ${where}. ${run.people.length} ${run.people.length === 1 ? "person" : "people"}.`));
}

export function stretches(run, answer) {
  const duration = answer.media.duration;
  const { plot, x } = frame(duration, 0, 1, `forged stretches: ${run.segments.length}`);
  for (const { start, end, score } of run.segments) {
    plot.append(shape("rect", { x: x(start), width: Math.max(2, x(end) - x(start)), y: TOP, height: HEIGHT - TOP - BOTTOM, class: "stretch" }, shape("title", {}, `${start.toFixed(2)} to ${end.toFixed(2)} s: ${score.toFixed(2)}`)));
  }
  if (run.waveform.length) plot.append(shape("polyline", { points: run.waveform.map((level, i) => `${x((duration * i) / run.waveform.length).toFixed(1)},${(HEIGHT - BOTTOM - level * (HEIGHT - TOP - BOTTOM)).toFixed(1)}`).join(" "), class: "line p0" }));
  const list = run.segments.map(({ start, end, score, stream }) => `${start.toFixed(1)} to ${end.toFixed(1)} s (${stream ?? "both"}, ${score.toFixed(2)})`).join("; ") || "none";
  return element("figure", {}, plot, element("figcaption", {}, `Stretches that look forged, on the loudness of the sound: ${list}.`));
}

export function delays(run, answer) {
  if (!run.delays.length) return element("p", {}, "Nothing was heard together with a face.");
  const all = run.delays.map((each) => each.delay);
  const { plot, x, y } = frame(answer.media.duration, Math.min(-0.2, ...all), Math.max(0.2, ...all), "delay between sound and lips over time");
  plot.append(shape("polyline", { points: run.delays.map(({ t, delay }) => `${x(t).toFixed(1)},${y(delay).toFixed(1)}`).join(" "), class: "line p0" }));
  return element("figure", {}, plot, element("figcaption", {}, `Seconds by which the sound is late (up) or early (down), window by window. An offset of ${run.offset} frames over the whole clip does not count as forged.`));
}
