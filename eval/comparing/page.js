"use strict";
// The table of items: choose a benchmark and two runs, filter, sort, leaf through. All text enters as text, never as HTML.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const at = (id) => document.getElementById(id);
  const [bench, base, arm, show, find, head, body, count, back, on] =
    ["bench", "base", "arm", "show", "find", "head", "body", "count", "back", "on"].map(at);
  const SIZE = 25;
  let page = 0, sorted = { column: "", down: false }, rows = [];

  const make = (tag, words, kind) => {
    const one = document.createElement(tag);
    if (words !== undefined) one.textContent = words;
    if (kind) one.className = kind;
    return one;
  };
  const options = (select, names, chosen) => {
    select.replaceChildren(...names.map((name, n) => {
      const one = make("option", name);
      one.value = n;
      return one;
    }));
    select.value = chosen;
  };
  const table = () => data.benches[bench.value];
  const score = (cells, n) => (cells ? cells.scores[n] : undefined);
  const gap = (x, y) => (typeof x === "number" && typeof y === "number" ? y - x : NaN);
  const told = (cells, n) => {
    const value = score(cells, n);
    if (value === undefined) return "not there";
    if (value === null) return data.statuses[cells.statuses[n]];
    const status = data.statuses[cells.statuses[n]];
    const shown = Number.isInteger(value) ? String(value) : value.toFixed(3);
    return status === "scored" ? shown : `${shown} (${status})`;
  };

  const choose = () => {
    const names = table().arms.map((one) => data.arms[one]);
    options(base, names, 0);
    options(arm, names, Math.min(1, names.length - 1));
    sorted = { column: "", down: false };
    list();
  };
  const pick = () => {
    const { cells, ids, groups, group } = table();
    const [one, two] = [cells[base.value], cells[arm.value]];
    const worth = table().lower ? -1 : 1;
    const needle = find.value.trim().toLowerCase();
    const wanted = {
      all: () => true,
      differ: (x, y) => x !== y,
      better: (x, y) => worth * gap(x, y) > 0,
      worse: (x, y) => worth * gap(x, y) < 0,
      none: (x, y) => Number.isNaN(gap(x, y)),
    }[show.value];
    rows = [];
    for (let n = 0; n < ids.length; n++) {
      if (!wanted(score(one, n), score(two, n))) continue;
      if (needle && !ids[n].toLowerCase().includes(needle) && !groups[group[n]].toLowerCase().includes(needle)) continue;
      rows.push(n);
    }
    if (sorted.column) {
      const key = sorted.column === "id" ? (n) => ids[n]
        : sorted.column === "group" ? (n) => groups[group[n]]
        : sorted.column === "difference" ? (n) => gap(score(one, n), score(two, n))
        : (n) => score(sorted.column === "base" ? one : two, n);
      const order = (x, y) => {
        if (typeof x === "string") return x.localeCompare(y, "en", { numeric: true });
        const [a, b] = [x, y].map((value) => (typeof value === "number" && !Number.isNaN(value) ? value : -Infinity));
        return a === b ? 0 : a - b;
      };
      rows.sort((x, y) => (sorted.down ? -1 : 1) * order(key(x), key(y)) || x - y);
    }
  };
  const heading = (column, words) => {
    const cell = make("th");
    cell.scope = "col";
    if (column === "group") cell.className = "wide";
    if (sorted.column === column) cell.setAttribute("aria-sort", sorted.down ? "descending" : "ascending");
    const button = make("button", words);
    button.type = "button";
    button.addEventListener("click", () => {
      sorted = { column, down: sorted.column === column && !sorted.down };
      list();
      head.querySelectorAll("button")[columns().findIndex(([name]) => name === column)].focus();
    });
    cell.append(button);
    return cell;
  };
  const columns = () => {
    const { arms, groups } = table();
    const found = [["id", "item"]];
    if (groups.length > 1) found.push(["group", "group"]);
    found.push(["base", data.arms[arms[base.value]]]);
    if (base.value !== arm.value) found.push(["arm", data.arms[arms[arm.value]]], ["difference", "difference"]);
    return found;
  };
  const cellOf = (cells, n) => {
    const cell = make("td", told(cells, n));
    const answer = cells && cells.answers && cells.answers[n];
    if (answer) {
      const shown = make("span", answer, "answer");
      shown.title = answer;
      cell.append(shown);
    }
    return cell;
  };
  const list = () => {
    page = 0;
    pick();
    head.replaceChildren(...columns().map(([column, words]) => heading(column, words)));
    draw();
  };
  const draw = () => {
    const { cells, ids, groups, group, lower } = table();
    const [one, two] = [cells[base.value], cells[arm.value]];
    const shown = rows.slice(page * SIZE, (page + 1) * SIZE);
    body.replaceChildren(...shown.map((n) => {
      const row = make("tr");
      const name = make("th", ids[n], "id first");
      name.scope = "row";
      row.append(name);
      if (groups.length > 1) row.append(make("td", groups[group[n]], "wide"));
      row.append(cellOf(one, n));
      if (base.value !== arm.value) {
        row.append(cellOf(two, n));
        const change = gap(score(one, n), score(two, n));
        const size = String(Number(Math.abs(change).toFixed(3)));
        const words = Number.isNaN(change) ? "–" : change === 0 ? "0" : (change > 0 ? "+" : "−") + size;
        row.append(make("td", words, change ? ((change > 0) !== lower ? "up" : "down") : ""));
      }
      return row;
    }));
    const first = rows.length ? page * SIZE + 1 : 0;
    const last = Math.min((page + 1) * SIZE, rows.length);
    const number = (n) => n.toLocaleString("en-US");
    count.textContent = `${number(first)} to ${number(last)} of ${number(rows.length)} items (${number(ids.length)} in all)`;
    back.disabled = page === 0;
    on.disabled = last === rows.length;
  };

  options(bench, data.benches.map((one) => one.name), 0);
  bench.addEventListener("change", choose);
  for (const one of [base, arm, show]) one.addEventListener("change", list);
  find.addEventListener("input", list);
  back.addEventListener("click", () => { page -= 1; draw(); });
  on.addEventListener("click", () => { page += 1; draw(); });
  at("items").hidden = false;
  choose();
})();
