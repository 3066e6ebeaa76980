// The feed of the tasks: what happens as it happens, without a gap; and cards and table fetched anew when something ended.
"use strict";

(() => {
  const feed = document.getElementById("feed");
  if (!feed) return;
  const words = JSON.parse(feed.dataset.words);
  const page = JSON.parse(feed.dataset.filter); // what the page's own filter asks for
  const SHOWN = 200; // lines in the page
  const BACKLOG = 100; // events that had happened before
  const KEPT = 1000; // events in memory, for another filter of the feed
  const SOONEST = 1000; // milliseconds between two fetches
  const REGULAR = 10000;
  const SAY = 15000; // a summary for who listens
  const FIRST = 500; // until a connection that was cut is made again; it doubles, up to the longest
  const LONGEST = 2800;
  const SILENCE = 40000; // without even a heartbeat it is dead
  const SIGNED_OUT = 1008; // the code of a close frame

  document.documentElement.classList.add("has-script");
  const clock = new Intl.DateTimeFormat(document.documentElement.lang, { timeStyle: "medium", hourCycle: "h23" });
  const number = new Intl.NumberFormat(document.documentElement.lang);
  const lines = document.getElementById("feed-lines");
  const empty = document.getElementById("feed-empty");
  const state = document.getElementById("feed-state");
  const said = document.getElementById("feed-said");
  const pause = document.getElementById("feed-pause");
  const what = document.getElementById("feed-what");
  const which = document.getElementById("feed-task");
  const template = document.getElementById("feed-line");

  function fill(text, values) {
    return text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
  }

  // What is shown

  const kept = []; // the oldest first
  let fresh = []; // not in the page yet
  let paused = false;
  let missed = 0; // since the pause
  let drawing = false;

  function hasText(event) {
    const data = event.data || {};
    const all = [data.error_message, data.run_name, JSON.stringify(data.params || {})].join(" ").toLowerCase();
    return page.text.toLowerCase().split(/\s+/).every((word) => all.includes(word));
  }

  function fitsPage(event) {
    const data = event.data || {};
    return (!page.task || event.task_name === page.task)
      && (!page.status || event.status === page.status)
      && (!page.process || data.process_id === page.process)
      && (!page.item || data.item_id === page.item)
      && (!page.fingerprint || data.fingerprint === page.fingerprint)
      && (!page.text || hasText(event));
  }

  function fits(event) {
    if (event.note) return true;
    if (which.value && event.task_name !== which.value) return false;
    if (what.value === "page") return fitsPage(event);
    if (what.value === "ended") return event.type !== "task_started";
    if (what.value === "failed") return event.type === "task_failed";
    return true;
  }

  function named(task) {
    return Object.hasOwn(words.names, task) ? words.names[task] : String(task).replaceAll("_", " ");
  }

  function lasted(milliseconds) {
    if (typeof milliseconds !== "number") return "";
    if (milliseconds < 1000) return `${number.format(Math.round(milliseconds))} ms`;
    return `${number.format(Math.round(milliseconds / 100) / 10)} s`;
  }

  function note(text) {
    const item = document.createElement("li");
    item.className = "feed-note";
    item.textContent = text;
    return item;
  }

  function line(event) {
    if (event.note) return note(event.note);
    const data = event.data || {};
    const made = template.content.firstElementChild.cloneNode(true);
    const [time, badge, link, more, error] = made.querySelectorAll("[data-part]");
    const moment = new Date(event.timestamp);
    if (!Number.isNaN(moment.valueOf())) {
      time.dateTime = moment.toISOString();
      time.textContent = clock.format(moment);
    }
    const status = Object.hasOwn(words.states, event.status) ? event.status : "running";
    badge.textContent = words.states[status];
    badge.classList.add(words.classes[status]);
    link.textContent = data.run_name || named(event.task_name);
    if (/^[0-9a-f-]{36}$/.test(data.id)) link.href = `/tasks/${data.id}`;
    more.textContent = [data.run_name ? named(event.task_name) : "", lasted(data.duration_ms)].filter(Boolean).join(" · ");
    error.textContent = event.type === "task_failed" ? data.error_message || "" : "";
    if (!error.textContent) error.remove();
    return made;
  }

  function draw() {
    drawing = false;
    const batch = fresh.filter(fits).slice(-SHOWN);
    fresh = [];
    const above = lines.scrollTop > 4 ? lines.scrollHeight : 0;
    lines.prepend(...batch.map(line).reverse());
    while (lines.childElementCount > SHOWN) lines.lastElementChild.remove();
    if (above) lines.scrollTop += lines.scrollHeight - above; // who reads further down stays there
    empty.hidden = lines.childElementCount > 0;
  }

  function soon() {
    if (drawing || paused) return;
    drawing = true;
    setTimeout(draw, 50);
  }

  function redraw() {
    lines.replaceChildren();
    fresh = kept.slice();
    draw();
  }

  function keep(event) {
    kept.push(event);
    if (kept.length > KEPT) kept.splice(0, kept.length - KEPT);
    if (paused) {
      if (fits(event)) missed += 1;
      label();
    } else {
      fresh.push(event);
      if (fresh.length > KEPT) fresh.splice(0, fresh.length - KEPT);
      soon();
    }
  }

  function label() {
    const waiting = missed ? ` (${number.format(missed)})` : "";
    pause.textContent = paused ? words.go_on + waiting : words.pause;
    pause.setAttribute("aria-pressed", String(paused));
  }

  pause.addEventListener("click", () => {
    paused = !paused;
    missed = 0;
    label();
    if (!paused) redraw();
    else if (fresh.length) draw();
  });
  for (const select of [what, which]) select.addEventListener("change", redraw);

  // Who listens hears how many there were now and then, not each of them.

  let ended = 0;
  let failed = 0;

  setInterval(() => {
    if (!ended || paused || document.hidden) return;
    said.textContent = fill(failed ? words.said_failed : words.said, { ended: number.format(ended), failed: number.format(failed) });
    ended = failed = 0;
  }, SAY);

  // Cards and table

  let last = 0;
  let counted = Date.now();
  let timer = null;

  function fetchNow() {
    timer = null;
    if (document.hidden) return;
    last = Date.now();
    const live = document.getElementById("tasks-live");
    if (live && window.htmx) window.htmx.trigger(live, "refetch");
    const total = document.getElementById("tasks-total");
    if (!total || !window.htmx || Date.now() - counted < REGULAR) return;
    counted = Date.now();
    window.htmx.trigger(total, "refetch");
  }

  function refetch() {
    if (timer !== null || document.hidden) return;
    timer = setTimeout(fetchNow, Math.max(0, last + SOONEST - Date.now()));
  }

  setInterval(() => { if (Date.now() - last >= REGULAR) refetch(); }, 1000);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) refetch(); });

  // The list that somebody is selecting from stays as it is, also when they began while its next version was on its way.

  function isSelecting() {
    return document.querySelector("#tasks-list input:is(:checked, :focus)") !== null;
  }

  document.addEventListener("htmx:configRequest", (event) => {
    if (event.target.id === "tasks-live" && isSelecting()) event.detail.parameters.hold = "list";
  });
  document.addEventListener("htmx:beforeSwap", (event) => {
    const { target, requestConfig } = event.detail;
    if (target.id !== "tasks-live" || requestConfig.parameters.hold || !isSelecting()) return;
    event.detail.shouldSwap = false;
    refetch();
  });

  // The connection

  let socket = null;
  let attempts = 0;
  let waiting = null;
  let seen = feed.dataset.newest ? Math.max(0, Number(feed.dataset.newest) - BACKLOG) : null; // null: from now on
  let connected = false; // ever
  let past = 0; // what had happened before the page was opened, up to this number
  let silence = null;

  function say(name) {
    if (state.dataset.state === name) return;
    state.dataset.state = name;
    state.textContent = words[name];
  }

  function take(event) {
    if (event.type === "heartbeat") {
      seen = Math.max(seen, event.seq);
    } else if (event.type === "too_old") {
      seen = Math.max(seen, event.seq);
      keep({ note: words.too_old });
      refetch();
    } else if (Number.isFinite(event.seq) && event.seq > seen) {
      seen = event.seq;
      keep(event);
      if (event.type === "task_started" || event.seq <= past) return;
      ended += 1;
      if (event.type === "task_failed") failed += 1;
      refetch();
    }
  }

  function received(message) {
    listen();
    let told;
    try {
      told = JSON.parse(message.data);
    } catch {
      return;
    }
    if (told === null || typeof told !== "object") return;
    if (told.type === "hello") greeted(told);
    else take(told);
  }

  function greeted(hello) {
    if (seen === null && hello.newest >= hello.oldest) {
      seen = Math.max(hello.oldest - 1, hello.newest - BACKLOG, 0);
      const old = socket;
      connect(); // once more, with what happened before
      old.close();
      return;
    }
    if (!connected) past = hello.newest;
    seen = hello.seq; // where it begins, also when the numbers began anew
    attempts = 0;
    say("connected");
    if (connected) refetch();
    connected = true;
  }

  function listen() {
    clearTimeout(silence);
    silence = setTimeout(drop, SILENCE);
  }

  function connect() {
    clearTimeout(waiting);
    waiting = null;
    const address = new URL(feed.dataset.socket, location.href);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    if (seen !== null) address.searchParams.set("after", String(seen));
    const opened = new WebSocket(address);
    socket = opened;
    listen();
    opened.addEventListener("message", (message) => { if (socket === opened) received(message); });
    opened.addEventListener("close", (event) => { if (socket === opened) lost(event.code); });
  }

  function lost(code) {
    socket = null;
    clearTimeout(silence);
    if (code === SIGNED_OUT) {
      say("signed_out");
      return;
    }
    say("lost");
    const delay = Math.min(LONGEST, FIRST * 2 ** attempts) * (0.6 + 0.4 * Math.random());
    attempts += 1;
    clearTimeout(waiting);
    waiting = setTimeout(connect, delay);
  }

  function drop() {
    const old = socket;
    if (old) {
      lost();
      old.close();
    }
  }

  window.addEventListener("offline", drop);
  window.addEventListener("online", () => { if (!socket) connect(); });
  window.addEventListener("pagehide", () => { if (socket) { const old = socket; socket = null; old.close(); } });
  window.addEventListener("pageshow", (event) => { if (event.persisted && !socket) connect(); });

  label();
  connect();
})();
