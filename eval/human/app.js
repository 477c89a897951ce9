"use strict";

const $ = (id) => document.getElementById(id);
const form = $("form");
const token = document.querySelector('meta[name="form"]').content;
const PREFERENCES = { 1: "-2", 2: "-1", 3: "0", 4: "1", 5: "2" };
const SAID = { q: ["left_ok", "yes"], w: ["left_ok", "no"], o: ["right_ok", "yes"], p: ["right_ok", "no"] };
const REASONS = ["invalid", "hard"];

let said = []; // for each place: "judged", "skipped" or ""
let place = -1;
let shown = null; // the pair on the page, as the server gave it
let spent = 0; // milliseconds that the pair was looked at
let since = null; // when looking began, null while the page is hidden
let edited = false; // something was chosen or written that is not saved
let saving = false;
let turn = 0; // which request for a pair is the last

// The memory of the browser, which may be switched off: then a draft lives as long as the page.
const memory = {
  get(key) {
    try { return JSON.parse(localStorage.getItem(key)); } catch { return null; }
  },
  set(key, value) {
    try { localStorage.setItem(key, JSON.stringify(value)); } catch { /* the page works without */ }
  },
  remove(key) {
    try { localStorage.removeItem(key); } catch { /* as above */ }
  },
};

function status(text, bad = false) {
  $("status").textContent = text;
  $("status").classList.toggle("bad", bad);
}

async function ask(path, options = {}) {
  const response = await fetch(path, { credentials: "omit", redirect: "error", ...options });
  if (!response.ok) {
    const error = new Error(await response.text());
    error.final = response.status < 500;
    throw error;
  }
  return response.json();
}

const rest = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

// Ask until there is an answer: a server that was stopped comes back, and nothing is lost meanwhile.
async function insist(path, options) {
  for (let wait = 500; ; wait = Math.min(wait * 2, 5000)) {
    try {
      const found = await ask(path, options);
      status("");
      return found;
    } catch (error) {
      if (error.final) throw error;
      status(options ? "Not saved yet: the server does not answer. Trying again …" : "The server does not answer. Trying again …", true);
      await rest(wait);
    }
  }
}

function counted() {
  const done = said.filter(Boolean).length;
  $("count").textContent = `${done} of ${said.length} done`;
  $("bar").setAttribute("width", `${(100 * done) / Math.max(said.length, 1)}%`);
}

function unjudged(from) {
  for (let step = 0; step < said.length; step++) {
    const at = (from + step) % said.length;
    if (!said[at]) return at;
  }
  return -1;
}

function seconds() {
  return (spent + (since === null ? 0 : performance.now() - since)) / 1000;
}

function answer() {
  const value = (name) => form.elements[name].value;
  const ok = (name) => (value(name) === "" ? null : value(name) === "yes");
  return {
    preference: value("preference") === "" ? null : Number(value("preference")),
    left_ok: ok("left_ok"),
    right_ok: ok("right_ok"),
    reason: REASONS.find((name) => form.elements[name].checked) || "",
    comment: $("comment").value,
    seconds: Math.round(seconds() * 100) / 100,
  };
}

function fill(given) {
  const known = given || { preference: null, left_ok: null, right_ok: null, reason: "", comment: "" };
  const word = (ok) => (ok === null ? "" : ok ? "yes" : "no");
  const set = (name, value) => form.querySelectorAll(`[name="${name}"]`).forEach((box) => { box.checked = box.value === value; });
  set("preference", known.preference === null ? "" : String(known.preference));
  set("left_ok", word(known.left_ok));
  set("right_ok", word(known.right_ok));
  for (const name of REASONS) form.elements[name].checked = known.reason === name;
  $("comment").value = known.comment;
  form.classList.toggle("skipped", known.reason !== "");
}

function draw() {
  shown.answers.forEach((one, side) => {
    const box = $(`answer-${side}`);
    const plain = $("raw").checked;
    box.classList.toggle("plain", plain);
    if (!one.text.trim()) {
      box.innerHTML = '<p class="empty">(an empty answer)</p>';
    } else if (plain) {
      box.textContent = one.text;
    } else {
      box.innerHTML = one.html; // made and cleaned by the server
    }
  });
}

function keepDraft() {
  if (!shown || saving) return;
  if (edited) memory.set(`draft ${shown.pair}`, answer());
  else if (!shown.said) memory.set(`time ${shown.pair}`, seconds());
}

async function go(to, focus = true) {
  if (saving) return;
  keepDraft();
  const mine = ++turn;
  shown = null;
  if (to < 0) {
    finish();
    return;
  }
  const found = await insist(`pair/${to}`).catch((error) => { status(error.message, true); return null; });
  if (!found || mine !== turn) return; // a later key press was faster
  shown = found;
  place = to;
  const draft = memory.get(`draft ${shown.pair}`);
  spent = 1000 * ((draft && draft.seconds) || memory.get(`time ${shown.pair}`) || 0);
  since = document.hidden ? null : performance.now();
  $("prompt").textContent = shown.prompt;
  draw();
  fill(draft || shown.said);
  edited = draft !== null;
  $("place").textContent = `Pair ${place + 1} of ${said.length}`;
  document.title = `${place + 1}/${said.length} · Which answer is better?`;
  history.replaceState(null, "", `#${place + 1}`);
  $("back").disabled = place === 0;
  $("next").disabled = place === said.length - 1;
  $("judging").hidden = false;
  $("done").hidden = true;
  status(draft ? "Not saved yet: this is your draft." : shown.said ? "Saved. You may change it; what you save last counts." : "");
  $("prompt").scrollTop = 0;
  window.scrollTo(0, 0);
  if (focus) $("place").focus({ preventScroll: true });
}

function finish() {
  $("judging").hidden = true;
  $("done").hidden = false;
  $("place").textContent = "Which answer is better?";
  history.replaceState(null, "", "#done");
  $("thanks").focus();
}

function missing(vote) {
  if (vote.reason) return "";
  return ["left_ok", "preference", "right_ok"].find((name) => vote[name] === null) || "";
}

async function save() {
  if (saving || !shown) return;
  const vote = answer();
  const gap = missing(vote);
  if (gap) {
    const name = { left_ok: "whether A is acceptable", right_ok: "whether B is acceptable", preference: "which is better" }[gap];
    status(`Please say ${name}.`, true);
    (form.querySelector(`[name="${gap}"]`)).focus();
    return;
  }
  keepDraft();
  saving = true;
  form.setAttribute("aria-busy", "true");
  // A name of its own, so that a vote sent twice (its reply was lost) is kept once.
  const key = Array.from(crypto.getRandomValues(new Uint8Array(12)), (n) => n.toString(16).padStart(2, "0")).join("");
  const body = JSON.stringify({ ...vote, key, form: token, pair: shown.pair });
  const from = place;
  try {
    const found = await insist(`pair/${from}`, { method: "POST", headers: { "Content-Type": "application/json" }, body });
    said = found.said;
    memory.remove(`draft ${shown.pair}`);
    memory.remove(`time ${shown.pair}`);
    shown = null;
  } catch (error) {
    status(`Not saved: ${error.message}`, true);
  }
  saving = false;
  form.removeAttribute("aria-busy");
  counted();
  if (shown === null) await go(unjudged(from + 1));
}

function choose(name, value) {
  const box = form.querySelector(`[name="${name}"][value="${value}"]`);
  box.checked = true;
  form.dispatchEvent(new Event("change"));
}

function skip(name) {
  form.elements[name].checked = !form.elements[name].checked;
  form.elements[name].dispatchEvent(new Event("change", { bubbles: true }));
}

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  const writing = event.target === $("comment");
  if (event.key === "Escape" && writing) {
    $("place").focus({ preventScroll: true });
    return;
  }
  const onControl = event.target.closest("button, a, summary, input[type=checkbox]");
  if (event.key === "Enter" && !onControl) {
    event.preventDefault();
    if (!event.repeat) save();
    return;
  }
  if (writing || !$("keys").checked) return;
  const key = event.key.toLowerCase();
  const acts = {
    z: () => ($("judging").hidden ? go(said.length - 1) : place > 0 && go(place - 1)),
    n: () => place < said.length - 1 && go(place + 1),
    u: () => go(unjudged(place + 1)),
    r: () => $("raw").click(),
    c: () => $("comment").focus(),
    x: () => skip("invalid"),
    h: () => skip("hard"),
    "?": () => { $("help").open = !$("help").open; if ($("help").open) $("help").scrollIntoView(); },
  };
  const act = PREFERENCES[key] ? () => choose("preference", PREFERENCES[key]) : SAID[key] ? () => choose(...SAID[key]) : acts[key];
  if (!act || ($("judging").hidden && key !== "z" && key !== "u" && key !== "?")) return;
  event.preventDefault();
  act();
}

function changed(event) {
  const name = event.target.name;
  for (const other of REASONS) if (REASONS.includes(name) && other !== name) form.elements[other].checked = false;
  form.classList.toggle("skipped", REASONS.some((reason) => form.elements[reason].checked));
  edited = true;
  keepDraft();
  status("");
}

async function start() {
  document.addEventListener("keydown", pressed);
  form.addEventListener("submit", (event) => { event.preventDefault(); save(); });
  form.addEventListener("change", changed);
  $("comment").addEventListener("input", () => { edited = true; keepDraft(); });
  $("back").addEventListener("click", () => go(place - 1));
  $("next").addEventListener("click", () => go(place + 1));
  $("again").addEventListener("click", () => go(0));
  $("raw").addEventListener("change", () => { memory.set("raw", $("raw").checked); if (shown) draw(); });
  $("keys").addEventListener("change", () => memory.set("keys", $("keys").checked));
  $("raw").checked = memory.get("raw") === true;
  $("keys").checked = memory.get("keys") !== false;
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { spent = seconds() * 1000; since = null; keepDraft(); } else { since = performance.now(); }
  });
  window.addEventListener("pagehide", keepDraft);
  said = (await insist("progress")).said;
  counted();
  const named = /^#(\d+)$/.exec(location.hash);
  const wanted = named ? Number(named[1]) - 1 : -1;
  await go(wanted >= 0 && wanted < said.length ? wanted : unjudged(0), false);
}

start();
