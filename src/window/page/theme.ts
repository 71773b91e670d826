/// <reference lib="dom" />
// Runs before anything is drawn, so that a page in the chosen theme never flashes in the other.
{
  const chosen = localStorage.getItem("quire.theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
}
