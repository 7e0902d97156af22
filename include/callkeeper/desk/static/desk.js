// Once a form is sent its buttons rest, and say so: it may take some seconds. The server would do it once anyway.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented || form.hasAttribute("hx-post") || form.hasAttribute("data-download")) return;
  const buttons = [...form.querySelectorAll("button"), ...document.querySelectorAll(`button[form="${CSS.escape(form.id || "-")}"]`)];
  setTimeout(() => buttons.forEach((button) => { button.disabled = true; }));
  const working = form.querySelector(".working");
  if (working) working.hidden = false;
});
// Back from the browser's own memory, a page is as it was: its buttons work again.
addEventListener("pageshow", (event) => {
  if (event.persisted) document.querySelectorAll("button[disabled]").forEach((button) => { button.disabled = false; });
});
// What went wrong is read first.
document.getElementById("wrong")?.scrollIntoView({ block: "center" });
