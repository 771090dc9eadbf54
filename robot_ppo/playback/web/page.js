"use strict";
// The panel beside mujoco's viewer: figures come in, requests go out; see panel.py.

const $ = (id) => document.getElementById(id);
const RENEW = 150; // [ms] between two renewals of the command, which the robot forgets after 500
const KEYS = {w: [0, 1], s: [0, -1], a: [1, 1], d: [1, -1], q: [2, 1], e: [2, -1],
  ArrowUp: [0, 1], ArrowDown: [0, -1], ArrowLeft: [2, 1], ArrowRight: [2, -1]};

const FLASH = 2000; // [ms] that a guard is red after it fired

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
  const pushes = said.about.kind === "watch" ? "you may push it" : "you drive";
  $("role").textContent = drives ? pushes : said.free ? "nobody drives" : "you look";
  if (said.browsers > 1) $("role").textContent += `, ${said.browsers} browsers`;
  $("take").hidden = drives || !said.free;
  $("give").hidden = !drives || said.browsers < 2;
  if (!about) build(said.about);
  else if (JSON.stringify(said.about) !== JSON.stringify(about)) return location.reload();
  enable();
}

function enable() {
  const waits = past.length && past[past.length - 1].waits;
  for (const part of document.querySelectorAll("aside button, aside input, aside select"))
    part.disabled = !drives && part.id !== "take" && part.id !== "joint";
  $("approve").disabled ||= !waits;
}

function slider(parent, name, unit, low, high, value, changed) {
  const row = document.createElement("label");
  row.className = "slider";
  const text = document.createElement("span");
  text.textContent = name.replace("_", " ");
  const input = document.createElement("input");
  Object.assign(input, {type: "range", min: low, max: high, step: "any"});
  input.value = value;
  input.id = "set-" + name;
  const output = document.createElement("output"), digits = high - low > 20 ? 0 : 2;
  const write = () => { output.textContent = `${(+input.value).toFixed(digits)} ${unit}`; };
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
  for (const part of document.querySelectorAll("[data-node]"))
    part.hidden = about.kind === "watch"; // a node elsewhere drives: there is no node to tell of
  $("termsTitle").textContent = about.quantiles
    ? "Observation within training's 0.1 to 99.9 %"
    : "Observation within 3 deviations of training's";
  command = about.command.map(() => 0);
  sliders = about.command.map((entry, i) => slider($("sliders"), entry.name, entry.unit,
    entry.low, entry.high, 0, (value) => { command[i] = value; renew(); }));
  if (!about.command.length) $("commands").hidden = true;
  for (const [name, [low, high, unit]] of Object.entries(about.knobs))
    knobs[name] = slider($("knobs"), name, unit, low, high, low,
      (value) => ask("set", {name, values: [value]}));
  $("lays").hidden = !about.ground;
  if (about.ground) {
    for (const kind of about.ground.kinds) $("ground").add(new Option(kind.replace("_", " "), kind));
    $("ground").value = about.ground.kind;
    $("level").oninput = () => { $("levelText").textContent = $("level").value; };
    $("level").value = about.ground.kind === "level" ? 0.5 : about.ground.level;
    $("level").oninput();
  }
  for (const name of about.joints) $("joint").add(new Option(name));
  $("keys").hidden = about.kind !== "twist";
  for (const label of ["vx [m/s]", "vy [m/s]", "yaw rate [rad/s]"]) {
    const canvas = document.createElement("canvas");
    canvas.height = 60;
    canvas.dataset.label = label;
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
  const before = past[past.length - 1];
  past.push(now);
  if (past.length > KEEP) past.shift();
  if (before && now.time < before.time) past = [now];
  if (!before || before.waits !== now.waits) enable();
  $("state").textContent = now.state;
  $("clock").textContent = `${now.time.toFixed(1)} s`;
  $("fault").textContent = now.fault || "";
  $("approve").textContent = now.waits ? `approve: ${now.waits}` : "approve";
  $("pause").textContent = now.paused ? "go on" : "pause";
  for (const [name, value] of Object.entries(now.knobs)) {
    const knob = knobs[name];
    if (knob && document.activeElement !== knob.input) { knob.input.value = value; knob.write(); }
  }
  if (!drives) sliders.forEach((one, i) => { one.input.value = now.command[i]; one.write(); });
  if (now.policies) list(now);
  if (now.guards) guards(now.guards);
  for (const line of now.news) {
    const item = document.createElement("li");
    item.textContent = line;
    $("news").prepend(item);
    while ($("news").children.length > 60) $("news").lastChild.remove();
  }
  const [p99, late, ticks] = now.late;
  $("late").textContent = `${ticks} ticks, ${late} later than 2 ms, p99 ${p99} ms`;
}

let counts = {}, firedAt = {};
function guards(now) {
  for (const [name, count] of Object.entries(now))
    if (count !== counts[name]) firedAt[name] = Date.now();
  const fired = Object.keys(now);
  if (fired.join() !== Object.keys(counts).join() || !fired.length)
    $("guards").replaceChildren(...(fired.length ? fired.map(() => document.createElement("span"))
      : ["none fired"]));
  fired.forEach((name, i) => {
    const part = $("guards").children[i];
    part.textContent = `${i ? ", " : ""}${name} ${now[name]}`;
    part.className = Date.now() - firedAt[name] < FLASH ? "fires" : "";
  });
  counts = now;
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

function draw() {
  requestAnimationFrame(draw);
  if (!about || !past.length || document.hidden) return;
  const now = past[past.length - 1], twist = about.kind === "twist";
  [...$("velocity").children].forEach((canvas, i) => plot(canvas, [
    {values: past.map((one) => one.measured[i]), name: "--measured"},
    {values: twist ? past.map((one) => one.command[i]) : [], name: "--asked"}], canvas.dataset.label));
  gait($("gait"), past, about.feet);
  bars($("torque"), about.joints.map((name, i) => ({name,
    part: Math.abs(now.torque[i]) / about.torque[i], text: `${now.torque[i].toFixed(1)} N m`})));
  if (now.terms) strips($("terms"), now.terms);
  const joint = $("joint").selectedIndex;
  plot($("angle"), [{values: past.map((one) => one.position[joint]), name: "--measured"},
    {values: past.map((one) => one.target[joint]), name: "--asked"}], "[rad]");
}

// -- what is asked for ----------------------------------------------------------------------------

for (const what of ["approve", "stop", "damp", "reset", "pause", "tick"])
  $(what).onclick = () => { if (what === "stop" || what === "damp") zero(); ask(what); };
$("zero").onclick = zero;
$("slow").onchange = () => ask("slow", {values: [+$("slow").value]});
$("policies").onchange = () => { ask("policy", {name: $("policies").value}); $("policies").blur(); };
$("lay").onclick = () => {
  zero();
  ask("ground", {name: $("ground").value, values: [+$("level").value]});
};
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
