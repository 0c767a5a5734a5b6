"use strict";
// The answer: keys, the time that the page is looked at, and never a "saved" that is not true.

(() => {
  const form = document.getElementById("answer");
  const status = document.getElementById("status");
  let unsaved = false, sent = null, then = null;

  // Time: only while the page can be seen, and from when the scan is there.
  let looked = 0, since = null;
  function count() {
    const now = performance.now();
    if (since !== null) looked += now - since;
    since = document.visibilityState === "visible" ? now : null;
  }
  function begin() {
    count();
    document.addEventListener("visibilitychange", count);
  }
  const view = document.getElementById("view");
  if (view && !view.dataset.ready) document.addEventListener("scan-ready", begin, { once: true });
  else begin();

  // Each set of answers has a key of its own, so that one sent twice is one answer, and a changed one is another.
  // Not randomUUID: browsers have it over https only.
  function freshKey() {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    form.key.value = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  }

  function changed() {
    unsaved = true;
    freshKey();
    status.querySelector(".good")?.remove();
    mark();
  }
  const mark = () => form.classList.toggle("kept", !unsaved && form.dataset.answered === "yes");
  form.addEventListener("input", changed);

  form.addEventListener("htmx:configRequest", (event) => {
    count();
    event.detail.parameters.seconds = (looked / 1000).toFixed(3);
    sent = form.key.value;
    status.replaceChildren();
  });

  form.addEventListener("htmx:beforeSwap", (event) => {
    const xhr = event.detail.xhr;
    const ours = xhr.responseText.includes('class="notice');
    // Changed again while it was on its way: what is on the page now is not what was saved.
    const stale = xhr.status === 200 && sent !== form.key.value;
    event.detail.shouldSwap = ours && !stale;
    if (!ours) lost();
  });

  form.addEventListener("htmx:afterRequest", (event) => {
    const xhr = event.detail.xhr;
    const saved = xhr.status === 200 && xhr.responseText.includes('id="is-saved"');
    if (xhr.status === 0) lost();
    if (saved) {
      const bar = document.getElementById("answered");
      if (form.dataset.answered === "no") bar.value += 1;
      form.dataset.answered = "yes";
      if (sent === form.key.value) unsaved = false;
      mark();
      if (then && !unsaved) location.assign(then);
    }
    then = null;
  });

  function lost() {
    status.replaceChildren(document.getElementById("unsaved").content.cloneNode(true));
  }

  // Going on saves what was answered; where nothing was chosen yet, the browser asks before it is lost.
  function go(link) {
    if (!link) return;
    if (unsaved && form.choice.value) {
      then = link.href;
      form.requestSubmit();
    } else {
      location.assign(link.href);
    }
  }
  for (const link of document.querySelectorAll("#back, #next, .overview")) {
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      go(link);
    });
  }
  window.addEventListener("beforeunload", (event) => {
    if (unsaved) event.preventDefault();
  });

  function choose(number) {
    const radio = form.querySelectorAll("[name=choice]")[number - 1];
    if (radio.checked) return;
    radio.checked = true;
    changed();
  }

  document.addEventListener("keydown", (event) => {
    const on = event.target;
    if (event.metaKey || event.altKey) return;
    if (event.key === "Enter" && event.ctrlKey) return form.requestSubmit();
    if (event.ctrlKey || on.closest("textarea")) return;
    const arrows = { ArrowLeft: "back", ArrowRight: "next" };
    if (["1", "2", "3"].includes(event.key)) choose(Number(event.key));
    else if (event.key in arrows && on.type !== "range") go(document.getElementById(arrows[event.key]));
    else if (event.key === "Enter" && (on.id === "save" || !on.closest("a, button, summary"))) {
      if (form.classList.contains("kept")) go(document.getElementById("next"));
      else form.requestSubmit();
    } else return;
    event.preventDefault();
  });

  mark();
})();
