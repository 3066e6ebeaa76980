// Review by keyboard: a, r, e, j, k, x and ?. Each presses a button or follows a link that the page shows anyway.
"use strict";

(() => {
  const SETTING = "pressroom-shortcuts";
  const root = document.documentElement;
  const dialog = document.getElementById("shortcuts");
  const queue = document.getElementById("queue");
  const rows = [...document.querySelectorAll("[data-row]")];
  let leaving = false; // one decision a page: a key that is held must not decide on the next comment

  root.classList.add("has-script");

  // On or off, as this browser has it.

  const setting = document.getElementById("shortcuts-on");

  function isOn() {
    try {
      return localStorage.getItem(SETTING) !== "off";
    } catch {
      return true; // nothing can be kept here
    }
  }

  function turn(on) {
    try {
      localStorage.setItem(SETTING, on ? "on" : "off");
    } catch {
      // for this page alone, then
    }
    root.classList.toggle("has-keys", on);
  }

  setting.checked = isOn();
  root.classList.toggle("has-keys", setting.checked);
  setting.addEventListener("change", () => turn(setting.checked));
  for (const button of document.querySelectorAll("[data-shortcuts]")) {
    button.addEventListener("click", () => dialog.showModal());
    button.classList.remove("needs-keys"); // it is also where they are turned on again
  }

  // Selecting several

  const boxes = [...document.querySelectorAll("input[name=choice]")];
  const all = document.querySelector("[data-select-all]");
  const counter = document.getElementById("selected");

  function count() {
    const number = boxes.filter((box) => box.checked).length;
    if (counter) counter.textContent = number ? counter.dataset.words.replace("{n}", number) : "";
    if (all) {
      all.checked = number > 0 && number === boxes.length;
      all.indeterminate = number > 0 && number < boxes.length;
    }
  }

  if (all) all.addEventListener("change", () => { for (const box of boxes) box.checked = all.checked; count(); });
  if (queue) queue.addEventListener("change", count);
  count();

  // A text that was typed and not saved is not what a decision is about.

  const edit = document.getElementById("edit-form");

  function isUnsaved() {
    const text = edit?.elements.text;
    return Boolean(text) && (text.value !== text.defaultValue || text.getAttribute("aria-invalid") === "true");
  }

  function warn() {
    const line = document.createElement("p");
    line.className = "flash warning";
    line.textContent = edit.dataset.unsaved;
    document.getElementById("messages").replaceChildren(line);
    document.getElementById("edit").open = true;
    edit.elements.text.focus();
  }

  document.addEventListener("submit", (event) => {
    if (event.defaultPrevented || event.target.method === "dialog") return;
    if (event.target.matches("[data-decision]") && isUnsaved()) {
      event.preventDefault();
      warn();
    } else if (leaving) {
      event.preventDefault();
    } else if (event.target.method === "post") {
      leaving = true;
    }
  });
  window.addEventListener("pageshow", () => { leaving = false; });

  // The keys

  function current() {
    return rows.findIndex((row) => row.contains(document.activeElement));
  }

  function move(step) {
    const next = Math.min(Math.max(current() + step, 0), rows.length - 1);
    rows[next].querySelector("[data-open]").focus();
    rows[next].scrollIntoView({ block: "nearest" });
  }

  function toggle() {
    const box = rows[current()]?.querySelector("input[name=choice]");
    if (box) box.click();
  }

  function press(key) {
    const target = document.querySelector(`[data-key="${key}"]`);
    if (!target) return;
    const details = target.closest("details");
    if (details && target.tagName === "SUMMARY") {
      details.open = true;
      details.querySelector("textarea").focus();
    } else {
      target.click();
    }
  }

  function act(key) {
    if (key === "?") dialog.showModal();
    else if (rows.length && (key === "j" || key === "k")) move(key === "j" ? 1 : -1);
    else if (rows.length && key === "x") toggle();
    else if (rows.length && key === "e") rows[current()]?.querySelector("[data-open]").click();
    else press(key);
  }

  function isTyping(element) {
    return element.isContentEditable || element.matches("textarea, select, input:not([type=checkbox])");
  }

  document.addEventListener("keydown", (event) => {
    const ours = "arejkx?".includes(event.key) && event.key.length === 1;
    if (!ours || event.repeat || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (leaving || dialog.open || isTyping(event.target) || !root.classList.contains("has-keys")) return;
    event.preventDefault();
    act(event.key);
  });
})();
