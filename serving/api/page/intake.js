// The ways in which it is said what is looked for. A picture: chosen (or taken with a phone's camera), pasted,
// dropped.

const file = document.getElementById("file");

// `take(file)` gets what came, whatever it is; null for something dropped that is no file.
export function onPicture(take) {
  for (const button of document.querySelectorAll(".pick")) {
    button.addEventListener("click", () => file.click());
  }
  file.addEventListener("change", () => {
    const [chosen] = file.files;
    if (chosen) take(chosen);
    file.value = ""; // so that the same file can be chosen again
  });
  addEventListener("paste", (event) => {
    const pasted = [...(event.clipboardData?.files ?? [])].find((item) => item.type.startsWith("image/"));
    if (pasted) take(pasted);
  });
  let over = 0; // dragenter and dragleave come for every element passed
  const dragging = (change) => {
    over = Math.max(0, over + change);
    document.body.classList.toggle("dragging", over > 0);
  };
  addEventListener("dragenter", (event) => dragging(event.dataTransfer?.types.includes("Files") ? 1 : 0));
  addEventListener("dragleave", () => dragging(-1));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    dragging(-over);
    take(event.dataTransfer.files[0] ?? null);
  });
}

// Words, or a number, from every form that fits.
export function onWords(forms, act) {
  for (const form of document.querySelectorAll(forms)) {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const words = form.querySelector("input").value.trim();
      if (words) act(words);
    });
  }
}
