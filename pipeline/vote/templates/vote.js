"use strict";
(() => {
  const MIN_MILLISECONDS = 150; // a quicker answer was meant for the image before
  const RETRY_SECONDS = 2; // between two attempts to load an image
  const WAIT_SECONDS = 10; // between two looks for questions that others have reserved
  const $ = (id) => document.getElementById(id);
  const number = new Intl.NumberFormat("en");
  let worker = "", classes = [], state = null, busy = false, last = null, recent = [];
  let shown = 0, hiddenSince = 0, images = new Map(), poll = 0, index = 0;

  // Requests: an answer is repeated until the server says that it is stored; the id of the request makes that safe.
  const requestId = () => [...crypto.getRandomValues(new Uint32Array(4))].map((n) => n.toString(16)).join("");
  const pause = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));
  const alarm = (text) => { $("alarm").textContent = text; $("alarm").hidden = !text; };
  const send = (name, body, keepalive = false) => fetch(`/api/${name}`, {
    method: "POST", headers: { "Content-Type": "application/json" }, credentials: "same-origin", keepalive,
    body: JSON.stringify(body),
  });
  async function ask(name, body = {}) {
    const whole = { worker, request: requestId(), ...body }; // a repeated request keeps its worker
    for (let tries = 0; ; tries += 1) {
      let reply = null, content = {};
      try {
        reply = await send(name, whole);
        content = reply.status === 403 ? {} : await reply.json();
      } catch { reply = null; }
      if (reply && reply.status < 500 && ![403, 429].includes(reply.status)) { alarm(""); return { reply, content }; }
      if (reply && reply.status === 403) alarm("The link is no longer valid. Ask for the new link, and open it; your last answer is not saved.");
      else if (reply && reply.status !== 429) alarm(`${content.error || "Not saved."} Trying again…`);
      else if (!reply) alarm("Not saved: no connection to the server. Trying again…");
      await pause(Math.min(0.5 * 2 ** tries, 8));
    }
  }

  // Showing questions.
  const address = (key) => `/image/${key}`;
  const load = (image, key) => { // again after a failure, such as a restart of the server
    image.addEventListener("error", () => setTimeout(() => {
      if (image.isConnected || images.get(key) === image) image.src = address(key);
    }, 1000 * RETRY_SECONDS));
    image.src = address(key);
    return image;
  };
  function show(next) {
    state = next;
    worker = next.worker;
    clearTimeout(poll);
    const wasResting = !$("rest").hidden;
    const current = next.questions[0];
    const { done, total, own } = next.progress;
    $("bar").hidden = false;
    $("join").hidden = true;
    $("who").textContent = worker;
    $("meter").max = Math.max(total, 1);
    $("meter").value = done;
    $("counts").textContent = `${number.format(own)} yours, ${number.format(done)} of ${number.format(total)}`;
    $("undo").disabled = $("rest-undo").disabled = !next.undo;
    $("rest-undo").hidden = !next.undo;
    $("ask").hidden = !current;
    $("rest").hidden = !!current;
    if (!current) { showRest(next, !wasResting); return; }
    showQuestion(current, next.questions.slice(1));
    if (wasResting) $("question").focus(); // the element that had the focus is hidden now
  }
  function showQuestion(current, others) {
    const about = classes[current.class];
    $("class").textContent = about.name;
    if (last !== current.id) {
      last = current.id;
      for (const button of document.querySelectorAll(".answer")) button.classList.remove("chosen");
      showPicture(current);
    }
    const keep = new Set([current, ...others].map((one) => one.image));
    for (const key of images.keys()) if (!keep.has(key)) images.delete(key);
    for (const one of others) if (!images.has(one.image)) images.set(one.image, load(new Image(), one.image));
    if ($("examples").dataset.class !== String(current.class)) showClass(about, current.class);
  }
  async function showPicture(current) {
    const target = $("picture");
    shown = 0;
    target.classList.add("loading");
    for (let isFirst = true; last === current.id; isFirst = false) {
      if (!isFirst) await pause(RETRY_SECONDS);
      if (last !== current.id) return;
      target.src = address(current.image);
      await target.decode().catch(() => null);
      if (last !== current.id) return;
      $("no-picture").hidden = target.naturalWidth > 0;
      if (target.naturalWidth) break;
    }
    target.classList.remove("loading");
    shown = performance.now();
  }
  function showClass(about, code) {
    $("examples").dataset.class = code;
    $("examples-class").textContent = about.name;
    $("description").textContent = about.description;
    $("description").hidden = !about.description;
    $("examples").hidden = !about.examples.length;
    $("example-list").replaceChildren(...about.examples.map((key, i) => {
      const item = document.createElement("li"), image = load(document.createElement("img"), key);
      image.alt = `Example ${i + 1} of ${about.name}`;
      item.append(image);
      return item;
    }));
  }
  function showRest(next, isNew) {
    last = null;
    $("rest-title").textContent = next.waiting ? "Others have the last questions" : "No more questions for you";
    $("rest-text").textContent = next.waiting
      ? "All remaining questions are being answered by others right now. This page looks again every few seconds."
      : `${next.skipped ? "You have answered all questions but those that you skipped." : "You have answered every question that needs you."} Thank you! You can close this page.${next.progress.done < next.progress.total ? " Some questions still need other people." : ""}`;
    $("again").hidden = !next.skipped;
    $("again").textContent = `Show the ${number.format(next.skipped)} skipped question${next.skipped === 1 ? "" : "s"}`;
    if (next.waiting) poll = setTimeout(() => act("start"), 1000 * WAIT_SECONDS);
    if (isNew) $("rest-title").focus();
  }

  // Actions.
  async function act(name, body) {
    if (busy) return null;
    busy = true;
    const { content } = await ask(name, body);
    busy = false;
    if (content.classes) classes = content.classes;
    if (content.questions) show(content);
    if (content.error) $("said").textContent = content.error;
    return content;
  }
  const since = () => performance.now() - shown;
  async function answer(value, seen = null) {
    const current = state?.questions[0];
    if (!current || busy || !shown || since() < MIN_MILLISECONDS) return;
    const milliseconds = Math.round(since());
    const button = document.querySelector(seen === null ? `.answer[data-answer="${value}"]` : "#other");
    button.classList.add("chosen");
    const name = classes[current.class].name;
    const content = await act("answer", { question: current.id, answer: value, seen_class: seen, milliseconds });
    if (content && !content.error) $("said").textContent = `Saved: ${seen === null ? value : `no, ${seen}`} (${name})`;
  }
  async function undo() {
    if (!state?.undo || busy) return;
    const content = await act("undo", { question: state.undo.id });
    if (content?.undone) {
      const { answer: before, seen_class: seen } = content.undone;
      $("said").textContent = `Undone: ${before}${seen ? `, ${seen}` : ""}`;
    }
  }
  async function skip() {
    const current = state?.questions[0];
    if (!current || busy) return;
    const content = await act("skip", { question: current.id });
    if (content && !content.error) $("said").textContent = "Skipped";
  }

  // The picker of another class: a combobox with a list.
  const plain = (text) => text.toLowerCase().normalize("NFKD").replace(/[\u0300-\u036f]/g, "").replace(/[_-]+/g, " ");
  function found(query) {
    const words = plain(query).split(/\s+/).filter(Boolean);
    const rank = (one) => {
      const name = plain(one.name);
      if (!words.every((word) => name.includes(word))) return -1;
      if (!words.length) return recent.includes(one.name) ? recent.indexOf(one.name) : recent.length;
      return name.startsWith(words[0]) ? 0 : name.includes(` ${words[0]}`) ? 1 : 2;
    };
    return classes.filter((one, code) => code !== state.questions[0]?.class)
      .map((one) => [rank(one), one.name]).filter(([order]) => order >= 0)
      .sort((a, b) => a[0] - b[0]).map(([, name]) => name);
  }
  function select(at) {
    const options = [...$("options").children];
    index = options.length ? (at + options.length) % options.length : 0;
    options.forEach((one, i) => one.setAttribute("aria-selected", String(i === index)));
    if (options.length) {
      $("search").setAttribute("aria-activedescendant", options[index].id);
      options[index].scrollIntoView({ block: "nearest" });
    } else $("search").removeAttribute("aria-activedescendant");
  }
  function list() {
    const names = found($("search").value);
    $("options").replaceChildren(...names.map((name, i) => {
      const option = document.createElement("li");
      option.id = `option-${i}`;
      option.setAttribute("role", "option");
      option.textContent = name;
      option.addEventListener("click", () => pick(name));
      return option;
    }));
    $("options-count").textContent = names.length ? `${number.format(names.length)} class${names.length === 1 ? "" : "es"}` : "No class has this name; close this and answer no.";
    select(0);
  }
  function openPicker() {
    if (!state?.questions[0] || busy || !shown) return;
    $("search").value = "";
    $("picker").showModal();
    list();
    $("search").focus();
  }
  function pick(name) {
    $("picker").close();
    recent = [name, ...recent.filter((one) => one !== name)].slice(0, 5);
    answer("no", name);
  }
  $("search").addEventListener("input", list);
  $("search").addEventListener("keydown", (event) => {
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8 };
    if (event.key in steps) select(index + steps[event.key]);
    else if (event.key === "Enter" && !event.isComposing) $("options").children[index]?.click();
    else return;
    event.preventDefault();
  });

  // Progress and keys.
  async function about() {
    $("about").showModal();
    const reply = await fetch("/api/progress", { credentials: "same-origin" }).catch(() => null);
    const rows = reply?.ok ? (await reply.json()).classes : [];
    $("classes").replaceChildren(...rows.map((row) => {
      const line = document.createElement("tr");
      [row.class, number.format(row.done), number.format(row.total)].forEach((text, i) => {
        const cell = document.createElement(i ? "td" : "th");
        if (i) cell.className = "n"; else cell.scope = "row";
        cell.textContent = text;
        line.append(cell);
      });
      return line;
    }));
  }
  const keys = { y: () => answer("yes"), n: () => answer("no"), u: () => answer("unsure"), c: openPicker, s: skip, z: undo, Backspace: undo };
  addEventListener("keydown", (event) => {
    const typing = event.target.closest("input:not([type=checkbox]), dialog");
    if (typing || event.repeat || event.ctrlKey || event.metaKey || event.altKey || event.isComposing || !$("keys").checked) return;
    const action = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action || !state) return;
    event.preventDefault();
    action();
  });
  for (const button of document.querySelectorAll("[data-answer]")) button.addEventListener("click", () => answer(button.dataset.answer));
  $("other").addEventListener("click", openPicker);
  $("skip").addEventListener("click", skip);
  for (const id of ["undo", "rest-undo"]) $(id).addEventListener("click", undo);
  $("again").addEventListener("click", () => act("skipped"));
  $("more").addEventListener("click", about);
  $("leave").addEventListener("click", async () => {
    $("about").close();
    if (busy) return; // an answer of this worker is not stored yet; the page says so
    clearTimeout(poll);
    await act("leave");
    state = last = null;
    $("ask").hidden = $("rest").hidden = $("bar").hidden = true;
    $("join").hidden = false;
    $("name").select();
  });

  // Time during which the page is not seen does not count.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) hiddenSince = performance.now();
    else if (shown) shown += performance.now() - Math.max(hiddenSince, shown);
  });
  addEventListener("pagehide", () => { if (state) send("leave", { worker }, true).catch(() => {}); });
  addEventListener("pageshow", (event) => { if (event.persisted && state) act("start"); });

  // Joining.
  const remembered = (name) => { try { return localStorage.getItem(name) || ""; } catch { return ""; } };
  $("name").value = remembered("vote-name");
  $("join").addEventListener("submit", async (event) => {
    event.preventDefault();
    if (busy) return;
    worker = $("name").value;
    $("name-fault").textContent = "";
    const content = await act("start");
    if (!content) return;
    if (!content.questions) { $("name-fault").textContent = content.error; $("name").focus(); return; }
    try { localStorage.setItem("vote-name", content.worker); } catch { /* private mode */ }
    $(content.questions.length ? "question" : "rest-title").focus();
  });
  if (!$("name").value) $("name").focus();
})();
