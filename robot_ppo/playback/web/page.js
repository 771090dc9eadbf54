"use strict";
// The panel beside mujoco's viewer: figures come in, requests go out; see panel.py.

const $ = (id) => document.getElementById(id);
const KEEP = 300; // figures that a plot shows: six seconds at 50 Hz
const RENEW = 150; // [ms] between two renewals of the command, which the robot forgets after 500
const KEYS = {w: [0, 1], s: [0, -1], a: [1, 1], d: [1, -1], q: [2, 1], e: [2, -1],
  ArrowUp: [0, 1], ArrowDown: [0, -1], ArrowLeft: [2, 1], ArrowRight: [2, -1]};

let socket, about, drives = false, command = [], past = [], held = new Set(), received = 0;

function ask(what, more = {}) {
  if (drives && socket.readyState === WebSocket.OPEN)
    socket.send(JSON.stringify({ask: what, ...more}));
}

function connect() {
  socket = new WebSocket(location.origin.replace(/^http/, "ws") + "/panel");
  socket.onmessage = (event) => {
    const said = JSON.parse(event.data);
    if ("you" in said) return role(said);
    socket.send("ok");
    received += 1;
    show(said);
  };
  socket.onclose = (event) => {
    drives = false;
    $("role").textContent = event.reason || "not connected";
    enable();
    setTimeout(connect, 1000);
  };
}

function role(said) {
  drives = said.you === "drive";
  $("role").textContent = drives ? "you drive" : said.free ? "nobody drives" : "you look";
  $("role").title = `${said.browsers} browsers`;
  $("take").hidden = drives || !said.free;
  $("give").hidden = !drives || said.browsers < 2;
  if (!about) build(said.about);
  enable();
}

function enable() {
  for (const part of document.querySelectorAll("aside button, aside input, aside select"))
    part.disabled = !drives && part.id !== "take" && part.id !== "joint";
}

function slider(parent, name, unit, low, high, value, changed) {
  const row = document.createElement("label");
  row.className = "slider";
  const text = document.createElement("span");
  text.textContent = name.replace("_", " ");
  const input = document.createElement("input");
  Object.assign(input, {type: "range", min: low, max: high, step: (high - low) / 100});
  input.value = value;
  input.id = "set-" + name;
  const output = document.createElement("output");
  const write = () => { output.textContent = `${(+input.value).toFixed(2)} ${unit}`; };
  input.oninput = () => { write(); changed(+input.value); };
  row.append(text, input, output);
  parent.append(row);
  write();
  return {input, write};
}

let sliders = [], knobs = {};

function build(given) {
  about = given;
  $("title").textContent = `${about.robot}: ${about.task}`;
  document.title = `${about.robot} - robot-ppo`;
  command = about.command.map(() => 0);
  sliders = about.command.map((entry, i) => slider($("sliders"), entry.name, entry.unit,
    entry.low, entry.high, 0, (value) => { command[i] = value; renew(); }));
  $("commands").hidden = !about.command.length;
  for (const [name, [low, high, unit]] of Object.entries(about.knobs))
    knobs[name] = slider($("knobs"), name, unit, low, high, low,
      (value) => ask("set", {name, values: [value]}));
  for (const name of about.joints) $("joint").add(new Option(name));
  if (about.kind === "twist")
    for (const entry of about.command) {
      const canvas = document.createElement("canvas");
      canvas.height = 70;
      canvas.dataset.label = `${entry.name} [${entry.unit}]`;
      $("velocity").append(canvas);
    }
}

function renew() { if (command.length) ask("command", {values: command}); }

function zero() {
  command = command.map(() => 0);
  sliders.forEach((one) => { one.input.value = 0; one.write(); });
  renew();
}

function keys() {
  if (!sliders.length || about.kind !== "twist") return;
  command = command.map((_, i) => {
    let sum = 0;
    for (const key of held) if (KEYS[key] && KEYS[key][0] === i) sum += KEYS[key][1];
    const {high, low} = about.command[i];
    return sum > 0 ? high * 0.7 : sum < 0 ? low * 0.7 : 0;
  });
  sliders.forEach((one, i) => { one.input.value = command[i]; one.write(); });
  renew();
}

function show(now) {
  past.push(now);
  if (past.length > KEEP) past.shift();
  if (past.length > 1 && now.time < past[past.length - 2].time) past = [now];
  $("state").textContent = now.state;
  $("clock").textContent = `${now.time.toFixed(1)} s`;
  $("fault").textContent = now.fault || "";
  $("approve").textContent = now.waits ? `approve: ${now.waits}` : "approve";
  $("pause").textContent = now.paused ? "go on" : "pause";
  for (const [name, value] of Object.entries(now.knobs)) {
    const knob = knobs[name];
    if (knob && document.activeElement !== knob.input) { knob.input.value = value; knob.write(); }
  }
  list(now);
  const fired = Object.entries(now.guards).map(([name, count]) => `${name} ${count}`);
  $("guards").textContent = fired.join(", ") || "none fired";
  for (const line of now.news) {
    const item = document.createElement("li");
    item.textContent = line;
    $("news").prepend(item);
    while ($("news").children.length > 60) $("news").lastChild.remove();
  }
  const [p99, late, ticks] = now.late;
  $("late").textContent = `${ticks} ticks, ${late} later than 2 ms, p99 ${p99} ms`;
}

let listed = "";
function list(now) {
  const names = now.policies.join("\n");
  if (names !== listed) {
    listed = names;
    $("policies").replaceChildren(...now.policies.map((name) => new Option(name)));
  }
  if (document.activeElement !== $("policies")) $("policies").value = now.policy;
}

// -- plots: drawn once per picture of the browser, from what is there then -----------------------

function prepare(canvas) {
  const ratio = devicePixelRatio || 1, box = canvas.getBoundingClientRect();
  const height = +(canvas.dataset.height ||= canvas.height);
  canvas.width = box.width * ratio;
  canvas.height = height * ratio;
  canvas.style.height = `${height}px`;
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  pen.font = "10px system-ui";
  return [pen, box.width, height];
}

function colour(name) { return getComputedStyle(document.body).getPropertyValue(name); }

function plot(canvas, curves, label) {
  const [pen, width, height] = prepare(canvas);
  const all = curves.flatMap((curve) => curve.values);
  const low = Math.min(-0.2, ...all), high = Math.max(0.2, ...all);
  const y = (value) => 4 + (high - value) / (high - low) * (height - 8);
  pen.strokeStyle = colour("--line");
  pen.beginPath(); pen.moveTo(0, y(0)); pen.lineTo(width, y(0)); pen.stroke();
  for (const {values, name} of curves) {
    pen.strokeStyle = colour(name);
    pen.beginPath();
    values.forEach((value, i) => pen.lineTo(i / (KEEP - 1) * width, y(value)));
    pen.stroke();
  }
  pen.fillStyle = colour("--dim");
  pen.fillText(label, 2, 11);
}

function bars(canvas, entries, limitText) {
  const [pen, width, height] = prepare(canvas);
  const row = height / Math.max(entries.length, 1);
  entries.forEach(({name, part, text}, i) => {
    pen.fillStyle = colour("--line");
    pen.fillRect(120, i * row + 1, width - 170, row - 2);
    pen.fillStyle = colour(part >= 1 ? "--bad" : "--other");
    pen.fillRect(120, i * row + 1, Math.min(part, 1) * (width - 170), row - 2);
    pen.fillStyle = colour("--dim");
    pen.fillText(name, 0, (i + 1) * row - 1.5, 116);
    pen.fillText(text, width - 46, (i + 1) * row - 1.5, 46);
  });
}

function gait(canvas) {
  const [pen, width, height] = prepare(canvas);
  const row = height / about.feet.length;
  pen.fillStyle = colour("--asked");
  past.forEach((one, i) => one.contacts.forEach((down, foot) => {
    if (down) pen.fillRect(i / KEEP * width, foot * row + 2, width / KEEP + 0.5, row - 4);
  }));
  pen.fillStyle = colour("--measured");
  about.feet.forEach((name, foot) => pen.fillText(name, 2, foot * row + row / 2 + 4));
}

function draw() {
  requestAnimationFrame(draw);
  if (!about || !past.length || document.hidden) return;
  const now = past[past.length - 1];
  [...$("velocity").children].forEach((canvas, i) => plot(canvas, [
    {values: past.map((one) => one.measured[i]), name: "--measured"},
    {values: past.map((one) => one.command[i]), name: "--asked"}], canvas.dataset.label));
  gait($("gait"));
  bars($("torque"), about.joints.map((name, i) => ({name,
    part: Math.abs(now.torque[i]) / about.torque[i], text: `${now.torque[i].toFixed(1)} N m`})));
  bars($("terms"), Object.entries(now.terms).map(([name, far]) => ({name, part: far / 5,
    text: far.toFixed(1)})));
  const joint = $("joint").selectedIndex;
  plot($("angle"), [{values: past.map((one) => one.position[joint]), name: "--measured"},
    {values: past.map((one) => one.target[joint]), name: "--asked"}], "target and angle [rad]");
}

// -- what is asked for ----------------------------------------------------------------------------

for (const what of ["approve", "stop", "damp", "reset", "pause", "tick"])
  $(what).onclick = () => { if (what === "stop" || what === "damp") zero(); ask(what); };
$("zero").onclick = zero;
$("slow").onchange = () => ask("slow", {values: [+$("slow").value]});
$("policies").onchange = () => { ask("policy", {name: $("policies").value}); $("policies").blur(); };
$("take").onclick = () => socket.send("take");
$("give").onclick = () => { zero(); socket.send("give"); };
for (const button of document.querySelectorAll("[data-push]"))
  button.onclick = () => ask("push", {values: button.dataset.push.split(",").map(Number)});
addEventListener("keydown", (event) => {
  if (event.target.tagName === "SELECT") return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (key === " ") { event.preventDefault(); held.clear(); zero(); }
  if (!KEYS[key] || event.repeat) return;
  event.preventDefault();
  held.add(key);
  keys();
});
addEventListener("keyup", (event) => {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (held.delete(key)) keys();
});
addEventListener("blur", () => { if (held.size) { held.clear(); keys(); } });
setInterval(renew, RENEW);
connect();
draw();
