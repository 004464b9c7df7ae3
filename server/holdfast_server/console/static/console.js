// Copying. Everything else works without scripts.
"use strict";

function reveal(root) {
  for (const button of root.querySelectorAll("button[data-copy]")) button.hidden = !navigator.clipboard;
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-copy]");
  if (!button) return;
  const label = button.querySelector(".sr");
  const before = label.textContent;
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    label.textContent = "Copied";
    button.classList.add("copied");
  } catch {
    label.textContent = "The browser does not allow copying";
  }
  setTimeout(() => {
    label.textContent = before;
    button.classList.remove("copied");
  }, 1500);
});

reveal(document);
document.addEventListener("htmx:load", (event) => reveal(event.target));
