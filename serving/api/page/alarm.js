// The one place where trouble is told: what it is, when to try again, and a field where a key is needed.

import * as api from "/page/api.js";
import { Trouble } from "/page/trouble.js";

const $ = (id) => document.getElementById(id);
const key = $("key");
const again = $("trouble-again");
let retry = null;
let ticking = null;

// `act`: what to do once more, where that makes sense.
export function tell(error, act = null) {
  const trouble = error instanceof Trouble ? error : unexpected(error);
  hide();
  retry = act;
  $("trouble").hidden = false; // first: what is written into a hidden alert is not read aloud
  $("trouble-title").textContent = trouble.title;
  $("trouble-wait").textContent = trouble.wait;
  $("trouble-text").textContent = trouble.message;
  $("trouble-id").textContent = trouble.requestId ? `If it happens again, mention ${trouble.requestId}.` : "";
  key.hidden = !trouble.needsKey;
  again.hidden = trouble.needsKey || !trouble.retry || !act;
  if (!again.hidden) countDown(trouble.afterS);
  $("trouble-wait").classList.toggle("hidden", again.disabled); // seen on the button, heard here
  $("trouble").scrollIntoView({ block: "nearest" });
  if (trouble.needsKey) key.querySelector("input").focus();
}

export function hide() {
  clearTimeout(ticking);
  $("trouble").hidden = true;
  again.disabled = false;
  for (const part of ["title", "wait", "text"]) $(`trouble-${part}`).textContent = "";
}

function unexpected(error) {
  console.error(error);
  return new Trouble("Something went wrong", "Please try again.");
}

function countDown(leftS) {
  again.disabled = leftS > 1;
  again.textContent = again.disabled ? `Try again in ${leftS} s` : "Try again";
  if (again.disabled) ticking = setTimeout(countDown, 1000, leftS - 1);
}

again.addEventListener("click", () => retry?.());
key.addEventListener("submit", (event) => {
  event.preventDefault();
  const field = key.querySelector("input");
  api.keepKey(field.value.trim());
  field.value = "";
  retry?.();
});
