// The shopper's picture: made fit to send, and shown with what was found on it.

import { button, element, place, WHOLE } from "/page/elements.js";
import { percent, title } from "/page/format.js";
import { noPicture, tooLarge, Trouble } from "/page/trouble.js";

const ACCEPTED = ["image/jpeg", "image/png", "image/webp"];
const LONGEST_SIDE = 1600;
const SMALL_BYTES = 1_500_000;

// A camera's picture is far larger than the search looks at; sending it smaller saves a shopper on a
// phone most of the wait. What the browser can read and the shop cannot (AVIF, GIF) becomes a JPEG too.
export async function prepare(file, mostBytes) {
  if (!file?.type.startsWith("image/")) throw noPicture();
  const accepted = ACCEPTED.includes(file.type);
  const small = accepted && file.size <= SMALL_BYTES;
  const fit = small ? file : await smaller(file).catch(() => (accepted ? file : null)); // the shop says what is wrong
  if (!fit) throw new Trouble("This picture cannot be read", "Choose a JPEG, PNG or WebP file.", { retry: false });
  if (fit.size > mostBytes) throw tooLarge(mostBytes);
  return fit;
}

async function smaller(file) {
  const bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
  const scale = Math.min(1, LONGEST_SIDE / Math.max(bitmap.width, bitmap.height));
  const canvas = element("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext("2d");
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return new Promise((resolve) => canvas.toBlob((blob) => resolve(blob ?? file), "image/jpeg", 0.9));
}

function same(a, b) {
  return ["x0", "y0", "x1", "y1"].every((side) => Math.abs(a[side] - b[side]) < 1e-3);
}

function mark(box, name, sure, choose) {
  const node = button("mark-box", "", () => choose(box));
  node.tabIndex = -1; // the words below are the same choices, in reading order
  node.setAttribute("aria-hidden", "true");
  node.title = sure === null ? name : `${name}, ${percent(sure)} sure`;
  place(node, box);
  // Where boxes overlap, the smaller one must stay within reach.
  node.style.zIndex = Math.round(1000 - (box.x1 - box.x0) * (box.y1 - box.y0) * 999);
  return node;
}

// Draws the boxes over the picture and the same choices as words below it; `choose(box)` on a click. What is
// there already stays, and with it a keyboard's focus.
export function showBoxes(overlay, choices, found, chosen, choose) {
  const boxes = found.map(({ box }) => box);
  const drawn = JSON.stringify(boxes);
  if (overlay.dataset.drawn !== drawn) {
    const names = found.map(({ category }) => (category ? title(category) : "Item"));
    overlay.dataset.drawn = drawn;
    overlay.replaceChildren(...found.map(({ box, score }, index) => mark(box, names[index], score, choose)));
    choices.replaceChildren(
      ...boxes.map((box, index) => button("choice", names[index], () => choose(box))),
      button("choice", "Whole picture", () => choose(WHOLE)),
    );
  }
  [...boxes, WHOLE].forEach((box, index) => {
    const pressed = same(box, chosen ?? WHOLE);
    overlay.children[index]?.classList.toggle("chosen", pressed);
    choices.children[index].setAttribute("aria-pressed", String(pressed));
  });
}
