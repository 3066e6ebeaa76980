// Small things that HTML does not do: local times, copying, focus after a part of the page was replaced.
"use strict";

(() => {
  const language = document.documentElement.lang;
  // English as “22 Nov 2026, 14:05” for everybody: 11/12/26 is two days, by who reads it.
  const exact = new Intl.DateTimeFormat(language === "en" ? "en-GB" : language, { dateStyle: "medium", timeStyle: "short" });

  function localTimes(root) {
    for (const element of root.querySelectorAll("time[datetime]")) {
      const words = exact.format(new Date(element.dateTime));
      element.title = words;
      if (element.hasAttribute("data-exact")) element.textContent = words;
    }
  }

  async function copy(button) {
    const source = document.querySelector(button.dataset.copy);
    if (!source) return;
    try {
      await navigator.clipboard.writeText(source.textContent.trim());
      button.textContent = button.dataset.copied;
    } catch {
      getSelection().selectAllChildren(source); // no access to the clipboard: selected, to copy by hand
    }
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy]");
    if (button) copy(button);
  });

  // Ask before what cannot be undone: <form data-confirm="…">.
  document.addEventListener("submit", (event) => {
    const words = event.target.dataset.confirm;
    if (words && !confirm(words)) event.preventDefault();
  });

  // What takes a while says so, and is asked for once: <button data-wait="Stopping …">.
  document.addEventListener("submit", (event) => {
    const button = event.submitter;
    if (event.defaultPrevented || !button?.dataset.wait) return;
    setTimeout(() => {
      button.disabled = true;
      button.textContent = button.dataset.wait;
    });
  });

  // While a form is on its way, what comes in meanwhile must not reload the page under it.
  let leaving = false;
  window.addEventListener("submit", (event) => {
    if (event.defaultPrevented) return;
    leaving = true;
    setTimeout(() => { leaving = false; }, 30000);
  });
  document.addEventListener("htmx:beforeOnLoad", (event) => {
    if (leaving) event.preventDefault();
  });

  document.addEventListener("htmx:oobAfterSwap", () => localTimes(document));
  document.addEventListener("htmx:afterSwap", (event) => localTimes(event.detail.target));

  // The server cannot be reached: say so where messages are said.
  document.addEventListener("htmx:sendError", () => {
    const messages = document.getElementById("messages");
    const line = document.createElement("p");
    line.className = "flash error";
    line.textContent = language === "de" ? "Der Server antwortet nicht." : "The server does not answer.";
    messages.replaceChildren(line);
  });

  localTimes(document);
  const wrong = document.querySelector("[aria-invalid=true]");
  if (wrong) wrong.focus();
})();
