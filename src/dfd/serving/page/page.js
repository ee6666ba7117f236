// The page of the server: no framework, no build. The key lives in this module's memory and goes out as a header only.
import { result } from "/static/result.js";
import { element, says, size, when } from "/static/element.js";

const ENDED = ["done", "failed", "cancelled", "expired"];
const STAGES = {
  uploading: "sending", queued: "waiting", probing: "looking at the file", decoding: "decoding and finding faces",
  inference: "asking the detectors", reporting: "writing the report",
};
const find = (id) => document.getElementById(id);
const cards = new Map(); // by job
let key = "", cursor = null, models = [];

async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { ...options, headers: { "x-api-key": key, ...options.headers }, cache: "no-store" });
  } catch {
    throw { title: "The server does not answer", detail: "Is it still running?", code: "offline" };
  }
  if (answer.ok) return answer;
  throw await answer.json().catch(() => ({ title: `The server answered ${answer.status}`, code: "unknown" }));
}

const words = (problem) => [problem.title ?? String(problem), problem.detail].filter(Boolean).join(": ");
const announce = (text) => { find("live").textContent = text; };

// entry ---------------------------------------------------------------------------------------------------------------

find("key-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  key = find("key").value.trim();
  find("key-error").textContent = "";
  try {
    if (/[^\x20-\x7e]/.test(key)) throw { title: "This is not a key", detail: "it holds characters that no key has" };
    await learn();
    await older();
  } catch (problem) {
    key = "";
    find("key-error").textContent = words(problem);
    find("key").select();
    return;
  }
  find("key").value = "";
  find("entry").hidden = true;
  find("desk").hidden = false;
  showModels();
  find("files").focus();
});

async function learn() {
  const told = await (await ask("/v1/models")).json();
  models = told.models;
  find("restore").hidden = !told.restores;
}

async function health() {
  const place = find("health");
  try {
    const told = await (await fetch("/readyz", { cache: "no-store" })).json();
    const bad = Object.entries(told.checks).filter(([, state]) => state !== "ok");
    place.textContent = told.ready ? "ready" : "not ready: " + bad.map(([name, state]) => `${name} (${state.replace(/^\w+: /, "")})`).join("; ");
    place.classList.toggle("bad", !told.ready);
    if (told.ready && key && !models.length) { await learn(); showModels(); }
  } catch {
    place.textContent = "the server does not answer";
    place.classList.add("bad");
  }
}

// files ---------------------------------------------------------------------------------------------------------------

const drop = find("drop");
for (const name of ["dragenter", "dragover"]) drop.addEventListener(name, (e) => { e.preventDefault(); drop.classList.add("over"); });
for (const name of ["dragleave", "drop"]) drop.addEventListener(name, () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => { event.preventDefault(); sendAll(event.dataTransfer.files); });
window.addEventListener("dragover", (event) => event.preventDefault());
window.addEventListener("drop", (event) => event.preventDefault());
find("files").addEventListener("change", (event) => { sendAll([...event.target.files]); event.target.value = ""; });

async function sendAll(files) {
  find("send-error").hidden = true;
  for (const file of files) await send(file); // one after the other: each gets the whole line
}

function send(file) {
  const card = new Card({ id: `local-${Math.random()}`, name: file.name, state: "uploading", size: file.size, created: Date.now() / 1000 }, file);
  find("jobs").prepend(card.place);
  noticeEmpty();
  return new Promise((done) => {
    const request = new XMLHttpRequest(); // fetch does not say how much was sent
    card.stopSending = () => request.abort();
    request.open("PUT", `/v1/uploads?deblur=${find("restore").hidden ? "false" : find("deblur").value}`);
    request.setRequestHeader("x-api-key", key);
    request.setRequestHeader("x-filename", encodeURIComponent(file.name));
    request.setRequestHeader("content-type", "application/octet-stream");
    request.upload.onprogress = (event) => card.show({ ...card.job, progress: event.loaded / Math.max(1, event.total) });
    request.onload = () => {
      let told = {};
      try { told = JSON.parse(request.responseText); } catch { told = { title: `The server answered ${request.status}` }; }
      if (request.status < 300) {
        if (cards.has(told.id)) cards.get(told.id).place.remove();
        cards.set(told.id, card);
        card.show(told);
        card.follow();
      } else card.show({ ...card.job, state: "refused", code: told.code, detail: words(told) });
      done();
    };
    request.onerror = () => { card.show({ ...card.job, state: "refused", code: "offline", detail: "The connection ended. The server may have refused the file before it was sent whole, or is not running." }); done(); };
    request.onabort = () => { card.place.remove(); noticeEmpty(); done(); };
    request.send(file);
  });
}

// history -------------------------------------------------------------------------------------------------------------

async function older() {
  const page = await (await ask("/v1/jobs?limit=30" + (cursor ? `&cursor=${cursor}` : ""))).json();
  for (const job of page.jobs) {
    if (cards.has(job.id)) continue;
    const card = new Card(job);
    cards.set(job.id, card);
    find("jobs").append(card.place);
    if (!ENDED.includes(job.state)) card.follow();
  }
  cursor = page.next;
  find("more").hidden = !cursor;
  noticeEmpty();
}
find("more").addEventListener("click", () => older().catch(fail));

function noticeEmpty() {
  const some = find("jobs").children.length > 0;
  find("empty").hidden = some;
  find("history-tools").hidden = !some;
}

function fail(problem) {
  find("send-error").textContent = words(problem);
  find("send-error").hidden = false;
}

find("erase-all").addEventListener("click", async () => {
  if (!confirm("Erase all your files' results from the server? This cannot be undone.")) return;
  try {
    for (const [id, card] of [...cards]) { await ask(`/v1/jobs/${id}`, { method: "DELETE" }); card.gone(); }
  } catch (problem) { fail(problem); }
});

find("export-csv").addEventListener("click", async () => {
  const quote = (value) => { const text = String(value ?? ""); return `"${(/^[=+\-@]/.test(text) && Number.isNaN(Number(text)) ? "'" : "") + text.replaceAll('"', '""')}"`; };
  const rows = ["file,state,verdict,probability of fake,score (higher = fake),code,sha256"];
  try {
    for (const [id] of cards) {
      const job = await (await ask(`/v1/jobs/${id}`)).json();
      rows.push([job.name, job.state, job.verdict, job.result?.probability, job.result?.score, job.code, job.sha256].map(quote).join(","));
    }
    save(new Blob([rows.join("\n") + "\n"], { type: "text/csv" }), "verdicts.csv");
  } catch (problem) { fail(problem); }
});

function save(blob, name) {
  const link = element("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

// one file ------------------------------------------------------------------------------------------------------------

class Card {
  constructor(job, file = null) {
    this.job = job;
    this.file = file;
    this.place = element("li", { class: "job" });
    this.show(job);
  }

  show(job) {
    this.job = job;
    const state = job.state === "running" ? job.stage || "probing" : job.state;
    const open = [...this.place.querySelectorAll("details[open]")].length > 0;
    const focused = this.place.contains(document.activeElement) ? document.activeElement.dataset.name : null;
    const parts = [element("div", { class: "heading" }, element("h3", {}, job.name || "expired"), badge(job))];
    parts.push(element("p", { class: "small" }, [size(job.size), when(job.created), waits(job)].filter(Boolean).join(" · ")));
    if (STAGES[state]) {
      const bar = element("progress", { max: 1, "aria-label": `${job.name}: ${STAGES[state]}` });
      if (state !== "queued") bar.value = job.progress ?? 0;
      parts.push(bar, element("p", { class: "small" }, STAGES[state] + left(job)));
    }
    if (["failed", "refused"].includes(job.state)) parts.push(refusal(job));
    if (job.state === "expired") parts.push(element("p", { class: "small" }, "Its result has expired and was removed."));
    if (job.state === "done" && !job.result) parts.push(this.opener());
    if (job.result) parts.push(result(job, models, this.file, (name) => this.picture(name)));
    parts.push(this.tools());
    this.place.replaceChildren(...parts);
    if (open) this.place.querySelector("details")?.setAttribute("open", "");
    if (focused) this.place.querySelector(`[data-name="${focused}"]`)?.focus();
  }

  opener() {
    const button = element("button", { type: "button", class: "plain", "data-name": "open" }, "Show the report");
    button.addEventListener("click", () => this.load().catch((problem) => this.say(problem)));
    return button;
  }

  tools() {
    const row = element("div", { class: "row tools" });
    const add = (name, text, act) => {
      const button = element("button", { type: "button", class: "plain", "data-name": name, "aria-label": `${text}: ${this.job.name}` }, text);
      button.addEventListener("click", async () => { try { await act(); } catch (problem) { this.say(problem); } });
      row.append(button);
    };
    const { id, state } = this.job;
    if (state === "uploading") add("cancel", "Cancel", async () => this.stopSending?.());
    else if (state === "refused") {
      if (this.file) add("again", "Try again", async () => { this.place.remove(); await send(this.file); });
      add("away", "Remove from the list", async () => { this.place.remove(); noticeEmpty(); });
    } else if (!ENDED.includes(state)) add("cancel", "Cancel", async () => this.show(await (await ask(`/v1/jobs/${id}/cancel`, { method: "POST" })).json()));
    else {
      if (this.job.result) {
        add("csv", "Scores (CSV)", async () => save(await this.artifact("scores.csv"), `${this.job.name}.scores.csv`));
        add("json", "Result (JSON)", async () => save(await this.artifact("result.json"), `${this.job.name}.result.json`));
        add("print", "Print or PDF", async () => this.print());
      }
      add("erase", "Erase", async () => { await ask(`/v1/jobs/${id}`, { method: "DELETE" }); this.gone(); announce("erased"); });
    }
    return row;
  }

  print() {
    document.body.classList.add("one");
    this.place.classList.add("printed");
    this.place.querySelectorAll("details").forEach((part) => part.setAttribute("open", ""));
    window.print();
    document.body.classList.remove("one");
    this.place.classList.remove("printed");
  }

  gone() {
    const next = this.place.nextElementSibling ?? this.place.previousElementSibling;
    cards.delete(this.job.id);
    this.place.remove();
    noticeEmpty();
    (next?.querySelector("button") ?? find("files")).focus();
  }

  say(problem) {
    this.place.append(element("p", { class: "notice bad", role: "alert" }, words(problem)));
  }

  async artifact(name) { return (await ask(`/v1/jobs/${this.job.id}/artifacts/${name}`)).blob(); }
  async picture(name) { return URL.createObjectURL(await this.artifact(name)); }

  async load() {
    this.show(await (await ask(`/v1/jobs/${this.job.id}`)).json());
    if (ENDED.includes(this.job.state)) announce(`${this.job.name}: ${says(this.job)}`);
  }

  async follow() { // server-sent events by hand: EventSource sends no headers, and a key belongs into no address
    let last = 0, pause = 500;
    while (!ENDED.includes(this.job.state) && cards.has(this.job.id)) {
      try {
        const answer = await ask(`/v1/jobs/${this.job.id}/events`, { headers: last ? { "last-event-id": String(last) } : {} });
        const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
        pause = 500;
        for (let text = ""; ;) {
          const { value, done } = await reader.read();
          if (done) break;
          text += value;
          for (let end; (end = text.indexOf("\n\n")) >= 0; text = text.slice(end + 2)) {
            const event = Object.fromEntries(text.slice(0, end).split("\n").map((line) => { const at = line.indexOf(": "); return [line.slice(0, at), line.slice(at + 2)]; }));
            if (!event.data) continue;
            last = Number(event.id);
            if (event.event === "progress") this.show({ ...this.job, state: "running", ...JSON.parse(event.data) });
          }
        }
        await this.load();
      } catch (problem) {
        if (["not_found", "wrong_key", "no_key"].includes(problem.code)) { this.say(problem); return; }
        await new Promise((later) => setTimeout(later, pause));
        pause = Math.min(10000, pause * 2);
      }
    }
  }
}

function badge(job) {
  const word = job.state === "done" ? job.verdict : { failed: "not judged", refused: "refused", uploading: "sending" }[job.state] ?? job.state;
  return element("span", { class: `badge ${word.replaceAll(" ", "-")}` }, word);
}

const waits = (job) => (job.waiting ? `${job.waiting} before it` : "");

function left(job) {
  const seconds = job.estimate ? Math.round(job.estimate - Date.now() / 1000) : 0;
  return seconds > 1 ? `, about ${seconds < 90 ? `${seconds} s` : `${Math.round(seconds / 60)} min`} left` : "";
}

function refusal(job) {
  const place = element("div", { class: "notice warn" }, element("p", {}, element("strong", {}, job.state === "refused" ? "Not taken" : "Not judged"), ` (${job.code})`));
  place.append(element("p", {}, job.detail || ""));
  return place;
}

// models --------------------------------------------------------------------------------------------------------------

function showModels() {
  const boxes = models.map((model) => {
    const facts = element("dl");
    const fact = (name, value) => value && facts.append(element("dt", {}, name), element("dd", {}, value));
    fact("Model", model.model);
    fact("Trained on", model.trained_on);
    fact("Verdicts", model.operating.origin);
    fact("Does not know", model.unknown);
    const box = element("article", { class: "model" }, element("h3", {}, model.id), facts);
    for (const warning of model.warnings) box.append(element("p", { class: "notice warn" }, warning));
    return box;
  });
  find("models").replaceChildren(...(boxes.length ? boxes : [element("p", { class: "small" }, "No worker is alive; files wait until one is.")]));
}

find("entry").hidden = false;
find("key").focus();
health();
setInterval(health, 10000);
