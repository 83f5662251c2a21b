// The cards of the answers: of one class or of all, in the chosen order.
addEventListener("DOMContentLoaded", () => {
  const box = document.getElementById("answers-list");
  const tools = document.getElementById("answers-tools");
  const [only, order] = tools.querySelectorAll("select");
  const cards = [...box.children];
  const orders = {
    least: cards,
    most: cards.slice().reverse(),
    file: cards.slice().sort((a, b) => a.dataset.file - b.dataset.file),
  };
  const show = () => {
    let shown = 0;
    for (const card of cards) {
      card.hidden = Boolean(only.value) && card.dataset.class !== only.value;
      shown += !card.hidden;
    }
    tools.querySelector("output").textContent = only.value ? `${shown} of ${cards.length} shown` : "";
  };
  only.addEventListener("change", show);
  order.addEventListener("change", () => {
    box.append(...orders[order.value]);
    say(order.selectedOptions[0].textContent);
  });
  tools.hidden = cards.length < 2;
  show(); // on going back, the browser has kept the selection
  box.append(...orders[order.value]);
});

// Corrections: the right class of a picture. The browser keeps them; a CSV file takes them to `fit --fix`.
addEventListener("DOMContentLoaded", () => {
  const bar = document.getElementById("corrections");
  const key = `corrections:${location.pathname}`;
  let kept = {};
  try { kept = JSON.parse(localStorage.getItem(key)) ?? {}; } catch { /* for this visit only */ }
  const menu = document.createElement("select");
  menu.autocomplete = "off"; // what is kept decides
  menu.setAttribute("aria-label", "The right class");
  menu.append(new Option("Correct to ...", ""));
  for (const label of document.querySelectorAll("#labels li")) {
    const [name, shown] = [...label.children].map((part) => part.textContent);
    menu.append(new Option(shown, name));
  }
  const chosen = new Map();
  const set = (path, select) => {
    if (select.value) chosen.set(path, select.value); else chosen.delete(path);
    select.closest(".answer").classList.toggle("corrected", Boolean(select.value));
  };
  const show = () => {
    bar.hidden = chosen.size === 0;
    bar.querySelector("output").textContent = chosen.size === 1 ? "1 picture" : `${chosen.size} pictures`;
  };
  for (const place of document.querySelectorAll(".answer .path")) {
    const path = place.textContent, select = menu.cloneNode(true);
    if ([...select.options].some((option) => option.value === kept[path])) select.value = kept[path];
    select.addEventListener("change", () => {
      set(path, select);
      show();
      try { localStorage.setItem(key, JSON.stringify(Object.fromEntries(chosen))); } catch { /* for this visit only */ }
    });
    place.before(select);
    set(path, select);
  }
  bar.querySelector("button").addEventListener("click", () => {
    const rows = [["path", "label"], ...chosen].map((row) => row.map((cell) => `"${cell.replaceAll('"', '""')}"`).join(","));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([rows.join("\r\n") + "\r\n"], { type: "text/csv" }));
    link.download = "corrections.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  });
  show();
});
