"use strict";
// Plots of the panel: each is drawn anew, once per picture of the browser.

const KEEP = 300; // figures that a plot shows: six seconds at 50 Hz
const NAMES = 112; // width of the column of names

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
  const low = Math.min(-0.2, ...all), high = Math.max(0.2, ...all), top = 14;
  const y = (value) => top + (high - value) / (high - low) * (height - top - 2);
  pen.strokeStyle = colour("--line");
  pen.beginPath(); pen.moveTo(0, y(0)); pen.lineTo(width, y(0)); pen.stroke();
  for (const {values, name} of curves) {
    pen.strokeStyle = colour(name);
    pen.beginPath();
    values.forEach((value, i) => pen.lineTo(i / (KEEP - 1) * width, y(value)));
    pen.stroke();
  }
  pen.fillStyle = colour("--dim");
  pen.fillText(label, 0, 9);
  pen.textAlign = "right";
  pen.fillText(`${low.toFixed(1)} to ${high.toFixed(1)}`, width, 9);
  pen.textAlign = "left";
}

function names(pen, name, width, y) {
  pen.fillStyle = colour("--dim");
  pen.fillText(name, 0, y, width);
}

function bars(canvas, entries) {
  canvas.dataset.height = entries.length * 12;
  const [pen, width, height] = prepare(canvas);
  const row = height / entries.length, room = width - NAMES - 54;
  entries.forEach(({name, part, text}, i) => {
    pen.fillStyle = colour("--line");
    pen.fillRect(NAMES, i * row + 1, room, row - 2);
    pen.fillStyle = colour(part >= 1 ? "--bad" : "--other");
    pen.fillRect(NAMES, i * row + 1, Math.min(part, 1) * room, row - 2);
    const y = (i + 0.5) * row + 3.5;
    names(pen, name, NAMES - 6, y);
    pen.textAlign = "right";
    pen.fillText(text, width, y, 50);
    pen.textAlign = "left";
  });
}

// Of each term a dot for every entry: inside the bar it is where training was, outside it is red.
function strips(canvas, terms) {
  const rows = Object.entries(terms);
  canvas.dataset.height = Math.max(1, rows.length) * 14;
  const [pen, width, height] = prepare(canvas);
  const row = height / Math.max(rows.length, 1), room = width - NAMES;
  const x = (place) => NAMES + room * (0.5 + 0.3 * Math.max(-1.6, Math.min(1.6, place)));
  rows.forEach(([name, places], i) => {
    const y = (i + 0.5) * row;
    names(pen, name, NAMES - 6, y + 3.5);
    pen.fillStyle = colour("--line");
    pen.fillRect(x(-1), i * row + 2, x(1) - x(-1), row - 4);
    for (const place of places) {
      pen.fillStyle = colour(Math.abs(place) > 1 ? "--bad" : "--other");
      pen.fillRect(x(place) - 1.5, y - 3, 3, 6);
    }
  });
}

function gait(canvas, past, feet) {
  const [pen, width, height] = prepare(canvas);
  const row = height / Math.max(feet.length, 1), left = 44, room = width - left;
  feet.forEach((name, foot) => names(pen, name, left - 6, (foot + 0.5) * row + 3.5));
  pen.fillStyle = colour("--asked");
  past.forEach((one, i) => one.contacts.forEach((down, foot) => {
    if (down) pen.fillRect(left + i / KEEP * room, foot * row + 2, room / KEEP + 0.5, row - 4);
  }));
}
