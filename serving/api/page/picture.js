// The shopper's picture: made fit to send, and shown with what was found on it.

import { Trouble } from "/page/api.js";
import { percent, title } from "/page/format.js";

const ACCEPTED = ["image/jpeg", "image/png", "image/webp"];
const LONGEST_SIDE = 1600;
const SMALL_BYTES = 1_500_000;

// A camera's picture is far larger than the search looks at; sending it smaller saves a shopper on a
// phone most of the wait. What the browser can read and the shop cannot (AVIF, GIF) becomes a JPEG too.
export async function prepare(file) {
  if (!file.type.startsWith("image/")) {
    throw new Trouble("This is not a picture", "Choose a photograph: a JPEG, PNG or WebP file.", { retry: false });
  }
  if (ACCEPTED.includes(file.type) && file.size <= SMALL_BYTES) return file;
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    if (ACCEPTED.includes(file.type)) return file; // the shop will say what is wrong with it
    throw new Trouble("This picture cannot be read", "Choose a JPEG, PNG or WebP file.", { retry: false });
  }
  const scale = Math.min(1, LONGEST_SIDE / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext("2d");
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return new Promise((resolve) => canvas.toBlob((blob) => resolve(blob ?? file), "image/jpeg", 0.9));
}

export const WHOLE = { x0: 0, y0: 0, x1: 1, y1: 1 };

function same(a, b) {
  return a !== null && b !== null && ["x0", "y0", "x1", "y1"].every((side) => Math.abs(a[side] - b[side]) < 1e-3);
}

// Draws the boxes over the picture and the same choices as words below it; `choose(box)` on a click.
export function showBoxes(overlay, choices, found, chosen, choose) {
  const all = found.map(({ box, category, score }) => ({
    box,
    name: category ? title(category) : "Item",
    hint: score === null ? "" : percent(score),
  }));
  const marks = all.map(({ box, name }, index) => {
    const mark = document.createElement("button");
    mark.type = "button";
    mark.className = "mark-box";
    mark.tabIndex = -1; // the words below are the same choices, in reading order
    mark.setAttribute("aria-hidden", "true");
    mark.dataset.index = index;
    mark.title = name;
    mark.style.left = `${box.x0 * 100}%`;
    mark.style.top = `${box.y0 * 100}%`;
    mark.style.width = `${(box.x1 - box.x0) * 100}%`;
    mark.style.height = `${(box.y1 - box.y0) * 100}%`;
    // Where boxes overlap, the smaller one must stay within reach.
    mark.style.zIndex = Math.round(1000 - (box.x1 - box.x0) * (box.y1 - box.y0) * 999);
    mark.classList.toggle("chosen", same(box, chosen));
    mark.addEventListener("click", () => choose(box));
    return mark;
  });
  overlay.replaceChildren(...marks);

  const words = [...all, { box: WHOLE, name: "Whole picture", hint: "" }].map(({ box, name, hint }) => {
    const word = document.createElement("button");
    word.type = "button";
    word.className = "choice";
    word.setAttribute("aria-pressed", String(same(box, chosen) || (chosen === null && box === WHOLE)));
    word.append(name);
    if (hint) {
      const small = document.createElement("small");
      small.textContent = hint;
      word.append(" ", small);
    }
    word.addEventListener("click", () => choose(box));
    return word;
  });
  choices.replaceChildren(...words);
}
