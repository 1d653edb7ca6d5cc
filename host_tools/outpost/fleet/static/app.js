// Refreshes the page's <main>, draws the charts, sends an operator's orders.
// Text from devices reaches the page through the server's escaping templates or textContent only.
"use strict";

const REFRESH_MS = 3000;
const live = document.getElementById("live");

async function refresh() {
  const main = document.getElementById("main");
  if (document.hidden || !main || document.querySelector("details[open], form") || String(getSelection())) return;
  const url = new URL(location.href);
  url.searchParams.set("part", "1");
  try {
    const response = await fetch(url, {cache: "no-store", redirect: "error"});
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    for (const id of ["main", "more"]) {
      const [old, now] = [document.getElementById(id), fresh.getElementById(id)];
      if (now && now.innerHTML !== old.innerHTML) old.replaceWith(now);
    }
    live.className = "";
  } catch (error) {
    live.className = "off";
  }
}

function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

const UNITS = {Cel: "°C", "%RH": "% rh"};
const plots = new Map();
let spanMs = 86400000;

function options(series, width) {
  const axis = {stroke: color("--dim"), grid: {stroke: color("--line"), width: 1}, ticks: {show: false}, font: "12px system-ui"};
  const time = new Intl.DateTimeFormat(undefined, {dateStyle: "short", timeStyle: "medium"});
  return {
    width, height: 170, cursor: {sync: {key: "device"}},
    scales: {x: {time: true}},
    axes: [axis, {...axis, size: 62}],
    series: [
      {value: (plot, value) => value === null ? "" : time.format(value * 1000)},
      {stroke: color("--accent"), width: 2, points: {show: series.points.length < 80, size: 5, fill: color("--accent")}},
    ],
    hooks: {setCursor: [plot => {
      const index = plot.cursor.idx;
      const value = index === null || index === undefined ? null : plot.data[1][index];
      plot.root.parentNode.querySelector("b").textContent = value === null || value === undefined ? "" : `  ${value} at ${time.format(plot.data[0][index] * 1000)}`;
    }]},
  };
}

function draw(box, series) {
  const data = [series.points.map(point => point[0] / 1000), series.points.map(point => point[1])];
  const known = plots.get(series.metric);
  if (known) {
    known.setData(data);
    return;
  }
  const holder = document.createElement("div");
  holder.className = "plot";
  const title = document.createElement("h3");
  title.append(`${series.metric} ${UNITS[series.unit] || series.unit}`, document.createElement("b"));
  holder.append(title);
  box.append(holder);
  plots.set(series.metric, new uPlot(options(series, holder.clientWidth), data, holder));
}

async function chart() {
  const section = document.getElementById("charts");
  if (!section || document.hidden) return;
  const now = Date.now();
  const query = new URLSearchParams({from: now - spanMs, to: now + 60000, limit: 1000});
  const response = await fetch(`/api/v1/devices/${encodeURIComponent(section.dataset.device)}/telemetry?${query}`);
  if (!response.ok) return;
  const box = document.getElementById("plots");
  const found = (await response.json()).series.filter(series => series.points.length);
  if (found.length && !plots.size) box.replaceChildren();
  found.forEach(series => draw(box, series));
}

function redraw() {
  plots.forEach(plot => plot.destroy());
  plots.clear();
  const box = document.getElementById("plots");
  if (box) box.replaceChildren();
  chart();
}

async function order(rollout, verb) {
  const token = sessionStorage.getItem("token") || prompt("The fleet's token (file `token` of its folder):");
  if (!token || !confirm(`${verb} this rollout?`)) return;
  const response = await fetch(`/api/v1/rollouts/${encodeURIComponent(rollout)}/${verb}`, {
    method: "POST", headers: {Authorization: `Bearer ${token}`, "Content-Type": "application/json"}, body: "{}",
  });
  if (response.ok) sessionStorage.setItem("token", token);
  else {
    sessionStorage.removeItem("token");
    alert((await response.json()).error.message);
  }
  refresh();
}

document.addEventListener("click", event => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.verb) order(button.closest("[data-rollout]").dataset.rollout, button.dataset.verb);
  if (button.dataset.span) {
    document.querySelectorAll("[data-span]").forEach(other => other.setAttribute("aria-pressed", String(other === button)));
    spanMs = Number(button.dataset.span);
    redraw();
  }
});
addEventListener("resize", () => plots.forEach(plot => plot.setSize({width: plot.root.parentNode.clientWidth, height: 170})));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
chart();
setInterval(refresh, REFRESH_MS);
setInterval(chart, REFRESH_MS);
