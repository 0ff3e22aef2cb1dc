
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const HOPS = data.hops;
  const $ = (id) => document.getElementById(id);
  const narrow = "11px ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace";
  const TOP = 22, MIN_TEXT = 11, MAX_ROW = 34;

  // --- small helpers -------------------------------------------------------------------------------------

  function make(tag, { cls, text, ...rest } = {}, ...children) {
    const node = document.createElement(tag);
    if (cls) node.className = cls;
    if (text !== undefined) node.textContent = text;
    for (const [name, value] of Object.entries(rest)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  }
  const digits = (value) => (value < 9.995 ? value.toFixed(2) : value < 99.95 ? value.toFixed(1) : value.toFixed(0));
  function duration(us) {
    const size = Math.abs(us), sign = us < 0 ? "-" : "";
    if (Math.round(size) < 1000) return `${Math.round(size) ? sign : ""}${Math.round(size)} µs`;
    if (Math.round(size / 1000) < 1000) return `${sign}${digits(size / 1000)} ms`;
    return `${sign}${digits(size / 1e6)} s`;
  }
  const seconds = (us) => `${(us / 1e6).toLocaleString("en", { minimumFractionDigits: 3, maximumFractionDigits: 3 })} s`;
  const count = (number) => number.toLocaleString("en");
  const clamp = (value, low, high) => Math.max(low, Math.min(high, value));
  let colours = {};
  function readColours() {
    const style = getComputedStyle(document.documentElement);
    for (const name of ["bg", "card", "ink", "soft", "line", "accent", "stall", "pick", "stripe", ...HOPS]) {
      colours[name] = style.getPropertyValue(`--${name}`).trim();
    }
  }

  // --- a stream's columns as numbers ---------------------------------------------------------------------

  function unfold(runs) {
    const numbers = [];
    for (const [first, length] of runs) for (let i = 0; i < length; i++) numbers.push(first + i);
    return numbers;
  }
  function load(stream) {
    const sequences = unfold(stream.sequences), rows = sequences.length;
    const ends = new Float64Array(rows), gaps = new Float64Array(rows).fill(NaN);
    let total = 0;
    if (rows) stream.ends.split(",").forEach((text, i) => { total += Number(text); ends[i] = total; });
    const hops = HOPS.map((hop) => {
      const column = new Float64Array(rows).fill(NaN);
      (stream.hopUs[hop] ?? "").split(",").forEach((text, i) => { if (text) column[i] = Number(text); });
      return column;
    });
    // What lies between the model's stamp and the row's end; the browser comes after it.
    const inner = new Float64Array(rows);
    for (let i = 0; i < rows; i++) for (let h = 1; h < 5; h++) inner[i] += hops[h][i] || 0;
    for (let i = 0; i < rows; i++) {
      const live = !Number.isNaN(hops[1][i]);
      const before = i ? (Number.isNaN(hops[1][i - 1]) ? NaN : ends[i - 1] - inner[i - 1]) : stream.hasRoot ? 0 : NaN;
      if (live) hops[0][i] = ends[i] - inner[i] - before;
      if (i) gaps[i] = ends[i] - ends[i - 1];
    }
    const replayed = new Set(unfold(stream.replayed)), writes = new Map();
    for (const [first, size] of stream.writes) for (let i = 0; i < size; i++) writes.set(first + i, size);
    const index = new Map(sequences.map((sequence, i) => [sequence, i]));
    const stalls = new Map(stream.stalls.filter((s) => index.has(s.sequence)).map((s) => [index.get(s.sequence), s]));
    const begins = new Float64Array(rows), lasts = new Float64Array(rows), blames = new Int8Array(rows);
    for (let i = 0; i < rows; i++) {
      begins[i] = ends[i] - inner[i] - Math.max(0, hops[0][i] || 0);
      lasts[i] = ends[i] + Math.max(0, hops[5][i] || 0);
      // The hop that grew most against the row before; `model` counts whole.
      let most = -Infinity;
      for (let h = 0; h < 5; h++) {
        const grown = h ? (hops[h][i] || 0) - (i ? hops[h][i - 1] || 0 : 0) : hops[0][i] || 0;
        if (grown > most) { most = grown; blames[i] = h; }
      }
      if (stalls.has(i)) blames[i] = Math.max(0, HOPS.indexOf(stalls.get(i).hop));
    }
    return { ...stream, sequences, rows, ends, gaps, hops, replayed, writes, firstOfWrite: new Set(stream.writes.map(([first]) => first)), index, stallAt: stalls, begins, lasts, blames };
  }

  // --- the state of the view -----------------------------------------------------------------------------

  let stream = null, picked = -1, rowHeight = 17, mode = "timeline", queued = false;
  const waterfall = $("waterfall"), chart = $("chart"), overview = $("overview"), tip = $("tip"), spacer = $("spacer");

  function chooseStream(i) {
    stream = load(data.streams[i]);
    picked = stream.stallAt.size ? [...stream.stallAt.keys()].sort((a, b) => a - b)[0] : -1;
    [...$("streams").children].forEach((button, j) => button.setAttribute("aria-pressed", String(i === j)));
    head();
    setRowHeight(17);
    if (picked >= 0) reveal(picked); else waterfall.scrollTop = 0;
    detail();
  }
  function setRowHeight(height, keep = picked) {
    const room = waterfall.clientHeight - TOP, least = stream.rows ? Math.min(17, room / stream.rows) : 17;
    const anchor = keep >= 0 ? keep : waterfall.scrollTop / rowHeight;
    const offset = anchor * rowHeight - waterfall.scrollTop;
    rowHeight = clamp(height, least, MAX_ROW);
    spacer.style.height = `${Math.max(chart.clientHeight, stream.rows * rowHeight + TOP)}px`;
    waterfall.scrollTop = anchor * rowHeight - offset;
    draw();
  }
  function reveal(row) {
    const room = waterfall.clientHeight - TOP, y = row * rowHeight;
    if (y < waterfall.scrollTop || y > waterfall.scrollTop + room - rowHeight) waterfall.scrollTop = y - room * 0.35;
  }
  function pick(row, centre = false) {
    if (!stream.rows) return;
    picked = clamp(row, 0, stream.rows - 1);
    if (centre) waterfall.scrollTop = picked * rowHeight - (waterfall.clientHeight - TOP) * 0.35;
    else reveal(picked);
    detail();
    draw();
  }
  function detail() {
    $("detail").textContent = picked < 0 ? "" : lines(picked).flat().join(" · ");
  }
  function lines(i) {
    const s = stream, told = [`token ${count(s.sequences[i])}`, `at ${seconds(s.ends[i])}`];
    if (!Number.isNaN(s.gaps[i])) told.push(`gap ${duration(s.gaps[i])}`);
    const hops = HOPS.flatMap((hop, h) => (Number.isNaN(s.hops[h][i]) ? [] : [`${hop} ${duration(s.hops[h][i])}`]));
    const marks = [];
    const stall = s.stallAt.get(i);
    if (stall) marks.push(stallWords(stall));
    if (s.notes[i]) marks.push(s.notes[i]);
    if (s.replayed.has(i)) marks.push("replayed");
    if (s.writes.has(i)) marks.push(`one write of ${count(s.writes.get(i))}`);
    HOPS.forEach((hop, h) => { if (s.hops[h][i] < 0) marks.push(`${hop} ${duration(s.hops[h][i])} ${s.errors[hop] ?? ""}`.trim()); });
    return [told, hops, marks];
  }
  function stallWords(stall) {
    const words = [`stall ${stall.hop} ${stall.time}`];
    if (stall.behind) words.push(`${count(stall.behind)} behind`);
    if (stall.cause) words.push(`cause ${stall.cause}`);
    if (stall.open) words.push("open when the stream ended");
    return words.join(", ");
  }

  // --- everything above the chart ------------------------------------------------------------------------

  function head() {
    const bad = !["completed", "cancelled", "OK", ""].includes(stream.outcome);
    $("name").replaceChildren(stream.name, make("span", { cls: bad ? "chip bad" : "chip", text: stream.outcome || "–" }));
    const parts = [["trace", data.traceId], ...data.runIds.map((id) => ["run", id]), ["agent", data.agent], ["model", data.model], ["", stream.time]];
    $("identity").replaceChildren(...parts.filter(([, value]) => value).map(([name, value]) => make("span", { text: name ? `${name} ` : "" }, make("b", { cls: "mono", text: value }))));
    facts();
    const remarks = [stream.clock, stream.kept].filter(Boolean).join(". ");
    $("remarks").textContent = remarks;
    $("remarks").hidden = !remarks;
    stallList();
    summary();
  }
  function facts() {
    const gap = /^gaps p50 (.+), p99 (.+), max (.+?)(?: \((.+)\))?$/.exec(stream.gapWords) ?? [];
    const stalls = stream.stallCount ?? stream.stalls.length;
    const replayed = stream.replayed.size ? `, ${count(stream.replayed.size)} replayed` : "";
    const cards = [
      ["tokens", stream.tokens === null ? count(stream.rows) : count(stream.tokens), `${count(stream.rows)} rows${replayed}${stream.dropped ? `, ${count(stream.dropped)} dropped` : ""}`],
      ["first token", stream.ttft ?? "–", stream.ttft ? "from the request's arrival" : ""],
      ["gap p50", gap[1] ?? "–", ""],
      ["gap p99", gap[2] ?? "–", ""],
      ["longest gap", gap[3] ?? "–", gap[4] ?? ""],
      ["stalls", count(stalls), stalls > stream.stalls.length ? `${count(stream.stalls.length)} of them here` : "", stalls > 0],
    ];
    $("facts").replaceChildren(...cards.map(([name, value, small, isBad]) => make("div", { cls: isBad ? "bad" : "" }, make("dt", { text: name }), make("dd", { text: value }, make("small", { text: small })))));
  }
  function stallList() {
    const list = $("stalls");
    const all = [...stream.stalls.map((stall) => [stall, ""]), ...data.strays.map((stall) => [stall, "seen by another stream"])];
    list.replaceChildren(...all.map(([stall, remark]) => {
      const rest = [stall.behind ? `${count(stall.behind)} behind` : "", stall.cause, stall.open ? "open at the end" : "", remark].filter(Boolean).join(", ");
      const button = make("button", { type: "button" }, make("span", { text: `token ${count(stall.sequence)}` }), make("span", {}, make("span", { cls: `swatch ${stall.hop}` }), stall.hop), make("span", { cls: "time", text: stall.time }), make("em", { text: rest }));
      button.addEventListener("click", () => {
        const row = stream.index.get(stall.sequence) ?? stream.rows - 1;
        if (rowHeight < MIN_TEXT) setRowHeight(17, row);
        pick(row, true);
        waterfall.focus({ preventScroll: true });
        $("rows").scrollIntoView({ block: "nearest" });
      });
      return make("li", {}, button);
    }));
    if (!all.length) list.append(make("li", { cls: "none", text: "None." }));
  }
  function summary() {
    $("summary").replaceChildren(...stream.summary.map(([hop, n, p50, p99, most, at]) => {
      const jump = make("button", { type: "button", text: count(at), "aria-label": `Show token ${at}` });
      jump.addEventListener("click", () => pick(stream.index.get(at) ?? 0, true));
      const name = make("th", { scope: "row" }, make("span", { cls: `swatch ${hop}` }), hop);
      return n ? make("tr", {}, name, ...[count(n), p50, p99, most].map((text) => make("td", { text })), make("td", {}, jump))
        : make("tr", {}, name, ...["–", "–", "–", "–", "–"].map((text) => make("td", { text })));
    }));
  }
  function spans() {
    const all = data.spans, end = Math.max(1, ...all.map(([, , begin, length]) => begin + length));
    const first = all[0]?.[5];
    $("spans").replaceChildren(...all.map(([name, depth, begin, length, words, service, mark, segments]) => {
      const title = make("span", { title: `${name}${service ? ` (${service})` : ""}` });
      title.append("\u00a0\u00a0".repeat(depth), name, make("i", { text: [service && ` ${service}`, segments ? ` tokens × ${segments}` : ""].filter(Boolean).join(" ·") }));
      const line = make("span");
      line.style.left = `${(100 * begin) / end}%`;
      line.style.width = `${(100 * length) / end}%`;
      const side = service && service !== first ? "core" : "";
      return make("div", { cls: `span ${mark || side}` }, title, make("span", { cls: "track" }, line), make("span", { text: words }));
    }));
  }
  function others() {
    if (!data.others.length) return;
    $("others").hidden = false;
    $("others").querySelector("ul").replaceChildren(...data.others.map(([time, id, route, outcome, tokens]) => make("li", {}, make("code", { text: id }), ` ${[route, outcome, tokens, time].filter(Boolean).join(", ")}`)));
  }

  // --- drawing -------------------------------------------------------------------------------------------

  function surface(canvas) {
    const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.font = narrow;
    pen.textBaseline = "middle";
    return { pen, width, height };
  }
  function draw() {
    if (queued) return;
    queued = true;
    requestAnimationFrame(() => { queued = false; if (stream) { drawRows(); drawOverview(); } });
  }
  function visible() {
    const first = clamp(Math.floor(waterfall.scrollTop / rowHeight), 0, Math.max(0, stream.rows - 1));
    const last = clamp(Math.ceil((waterfall.scrollTop + chart.clientHeight - TOP) / rowHeight), first, stream.rows - 1);
    return [first, last];
  }
  function domain(first, last) {
    let low = Infinity, high = -Infinity;
    for (let i = first; i <= last; i++) {
      if (mode === "timeline") { low = Math.min(low, stream.begins[i]); high = Math.max(high, stream.lasts[i]); }
      else { low = 0; high = Math.max(high, stream.lasts[i] - stream.begins[i]); }
    }
    return [low, Math.max(high, low + 1)];
  }
  function step(span, most) {
    const rough = span / most, power = 10 ** Math.floor(Math.log10(rough));
    return [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough);
  }
  function drawRows() {
    const { pen, width, height } = surface(chart);
    if (!stream.rows) {
      pen.fillStyle = colours.soft;
      pen.fillText("No tokens in this stream's spans.", 16, 40);
      return;
    }
    const [first, last] = visible(), [low, high] = domain(first, last);
    const gutter = 224, right = width - 14, x = (us) => gutter + ((us - low) / (high - low)) * (right - gutter);
    drawAxis(pen, x, low, high, height, gutter);
    for (let i = first; i <= last; i++) {
      const y = TOP + i * rowHeight - waterfall.scrollTop;
      if (i === picked) {
        pen.fillStyle = colours.pick;
        pen.fillRect(0, y, width, Math.max(2, rowHeight));
      }
      drawBar(pen, i, y, x, low);
      if (rowHeight >= MIN_TEXT) drawText(pen, i, y + rowHeight / 2, x, right, low);
      else if (stream.stallAt.has(i)) drawFlag(pen, i, y + rowHeight / 2);
    }
    pen.fillStyle = colours.card;
    pen.fillRect(0, 0, width, TOP - 1);
    drawAxisText(pen, x, low, high, gutter);
  }
  function ticks(low, high) {
    const size = step(high - low, 8), found = [];
    for (let us = Math.ceil(low / size) * size; us <= high; us += size) found.push(us);
    return found;
  }
  function drawAxis(pen, x, low, high, height, gutter) {
    pen.fillStyle = colours.line;
    for (const us of ticks(low, high)) pen.fillRect(Math.round(x(us)), TOP, 1, height);
    pen.fillRect(gutter - 10, TOP, 1, height);
  }
  function drawAxisText(pen, x, low, high, gutter) {
    pen.fillStyle = colours.soft;
    pen.textAlign = "right";
    pen.fillText("token", 58, TOP / 2);
    pen.fillText("at", 136, TOP / 2);
    pen.fillText("gap", gutter - 18, TOP / 2);
    pen.textAlign = "center";
    const size = step(high - low, 8);
    for (const us of ticks(low, high)) {
      const at = x(us);
      if (at > gutter + 8) pen.fillText(mode === "durations" ? duration(us) : `${(us / 1e6).toFixed(size < 1e3 ? 4 : size < 1e5 ? 3 : 1)} s`, Math.min(at, x(high) - 22), TOP / 2);
    }
    pen.fillStyle = colours.line;
    pen.fillRect(0, TOP - 1, chart.clientWidth, 1);
  }
  function drawBar(pen, i, y, x, low) {
    const tall = rowHeight >= 6 ? rowHeight - 4 : Math.max(1, rowHeight), top = rowHeight >= 6 ? y + 2 : y;
    let at = mode === "timeline" ? stream.begins[i] : low;
    pen.globalAlpha = stream.replayed.has(i) ? 0.45 : 1;
    for (let h = 0; h < HOPS.length; h++) {
      const time = Math.max(0, stream.hops[h][i] || 0);
      if (!time) continue;
      const left = x(at), wide = Math.max(x(at + time) - left, h && rowHeight >= MIN_TEXT ? 1.2 : 0.6);
      pen.fillStyle = colours[HOPS[h]];
      // The wait for the model is no work of ours: a thin line, so that what follows stands out.
      if (h === 0 && !stalledIn(i, "model")) pen.fillRect(left, top + tall * 0.32, wide, Math.max(1, tall * 0.36));
      else pen.fillRect(left, top, wide, tall);
      at += time;
    }
    pen.globalAlpha = 1;
  }
  const stalledIn = (i, hop) => stream.stallAt.get(i)?.hop === hop;
  function drawText(pen, i, y, x, right, low) {
    const stall = stream.stallAt.get(i);
    pen.textAlign = "right";
    pen.fillStyle = stall ? colours.stall : colours.ink;
    pen.fillText(count(stream.sequences[i]), 58, y);
    pen.fillStyle = colours.soft;
    pen.fillText(seconds(stream.ends[i]), 136, y);
    pen.fillStyle = stall ? colours.stall : colours.soft;
    if (!Number.isNaN(stream.gaps[i])) pen.fillText(duration(stream.gaps[i]), 206, y);
    const words = [stall ? `◂ ${stallWords(stall)}` : "", stream.notes[i] ?? "", stream.replayed.has(i) ? "replayed" : "", stream.firstOfWrite.has(i) ? `one write of ${count(stream.writes.get(i))}` : ""].filter(Boolean).join(", ");
    if (!words) return;
    const end = x(mode === "timeline" ? stream.lasts[i] : low + stream.lasts[i] - stream.begins[i]) + 8, long = pen.measureText(words).width;
    const begin = x(mode === "timeline" ? stream.begins[i] : low) - 8;
    pen.fillStyle = stall ? colours.stall : colours.soft;
    if (end + long <= right) { pen.textAlign = "left"; pen.fillText(words, end, y); return; }
    if (begin - long >= 224) { pen.textAlign = "right"; pen.fillText(words.replace("◂", "▸"), begin, y); return; }
    // No room beside the bar: on it, where its longest hop begins.
    let at = mode === "timeline" ? stream.begins[i] : low, most = -1, hop = 0;
    for (let h = 0, from = at; h < HOPS.length; h++) {
      const time = Math.max(0, stream.hops[h][i] || 0);
      if (time > most) [most, at, hop] = [time, from, h];
      from += time;
    }
    pen.textAlign = "left";
    pen.fillStyle = hop || stalledIn(i, "model") ? contrast(colours[HOPS[hop]]) : colours.ink;
    pen.fillText(words, Math.min(x(at) + 8, right - long), y);
  }
  function contrast(colour) {
    const [red, green, blue] = [1, 3, 5].map((from) => parseInt(colour.slice(from, from + 2), 16));
    return 0.299 * red + 0.587 * green + 0.114 * blue > 140 ? "#14171c" : "#ffffff";
  }
  function drawFlag(pen, i, y) {
    pen.fillStyle = colours.stall;
    pen.textAlign = "right";
    pen.fillText(`${count(stream.sequences[i])} ${stream.stallAt.get(i).hop} ▸`, 206, clamp(y, TOP + 7, chart.clientHeight - 7));
  }
  function drawOverview() {
    const { pen, width, height } = surface(overview);
    if (!stream.rows) return;
    const left = 44, right = width - 4, base = height - 16, top = 12, end = Math.max(1, stream.ends[stream.rows - 1]), begin = Math.min(0, stream.begins[0]);
    const x = (us) => left + ((us - begin) / (end - begin)) * (right - left);
    let most = 2000;
    for (let i = 1; i < stream.rows; i++) most = Math.max(most, stream.gaps[i]);
    const floor = 100, y = (us) => base - (Math.log(Math.max(us, floor) / floor) / Math.log(most / floor)) * (base - top);
    const [first, last] = visible();
    pen.fillStyle = colours.pick;
    const from = x(first ? stream.ends[first - 1] : begin), to = x(stream.ends[last]);
    pen.fillRect(from, 0, Math.max(2, to - from), base);
    pen.textAlign = "right";
    for (const us of [1e3, 1e4, 1e5, 1e6, 1e7, 1e8].filter((us) => us < most * 1.05)) {
      pen.fillStyle = colours.line;
      pen.fillRect(left, Math.round(y(us)), right - left, 1);
      pen.fillStyle = colours.soft;
      pen.fillText(us < 1e6 ? `${us / 1e3} ms` : `${us / 1e6} s`, left - 5, y(us));
    }
    const stalls = [];
    for (let i = 1; i < stream.rows; i++) {
      if (!(stream.gaps[i] > floor)) continue;
      const at = x(stream.ends[i]), high = y(stream.gaps[i]);
      pen.fillStyle = colours[HOPS[stream.blames[i]]];
      pen.fillRect(at - 0.5, high, stream.stallAt.has(i) ? 2.5 : Math.max(1, Math.min(2, (right - left) / stream.rows - 0.4)), base - high);
      if (stream.stallAt.has(i)) stalls.push([at, high]);
    }
    pen.fillStyle = colours.stall;
    for (const [at, high] of stalls) {
      pen.beginPath();
      pen.moveTo(at + 0.5, high - 1);
      pen.lineTo(at - 4.5, high - 9);
      pen.lineTo(at + 5.5, high - 9);
      pen.fill();
    }
    pen.fillStyle = colours.soft;
    pen.textAlign = "center";
    const size = step(end, 10);
    for (let us = 0; us <= end; us += size) pen.fillText(`${+(us / 1e6).toFixed(3)} s`, clamp(x(us), left + 12, right - 16), height - 6);
  }

  // --- what a person does --------------------------------------------------------------------------------

  function rowAt(event) {
    const y = event.clientY - chart.getBoundingClientRect().top - TOP;
    const row = Math.floor((y + waterfall.scrollTop) / rowHeight);
    return y >= 0 && row < stream.rows ? row : -1;
  }
  function showTip(event, row) {
    tip.hidden = row < 0;
    if (row < 0) return;
    const [told, hops, marks] = lines(row);
    tip.replaceChildren(make("b", { text: told.join("   ") }), `\n${hops.join("\n")}`, marks.length ? `\n${marks.join("\n")}` : "");
    const box = tip.getBoundingClientRect();
    tip.style.left = `${clamp(event.clientX + 16, 4, window.innerWidth - box.width - 8)}px`;
    tip.style.top = `${event.clientY + 18 + box.height > window.innerHeight ? event.clientY - box.height - 12 : event.clientY + 18}px`;
  }
  function nextStall(way) {
    const rows = [...stream.stallAt.keys()].sort((a, b) => way * (a - b));
    const row = rows.find((each) => way * (each - picked) > 0) ?? rows[0];
    if (row !== undefined) pick(row, true);
  }
  function setMode(next) {
    mode = next;
    for (const name of ["timeline", "durations"]) $(name).setAttribute("aria-pressed", String(name === mode));
    draw();
  }
  const middle = () => (picked >= 0 && picked >= visible()[0] && picked <= visible()[1] ? picked : Math.round((visible()[0] + visible()[1]) / 2));
  const page = () => Math.max(1, Math.floor((waterfall.clientHeight - TOP) / rowHeight) - 1);
  const keys = {
    ArrowDown: () => pick(picked + 1), ArrowUp: () => pick(picked - 1),
    PageDown: () => pick(picked + page()), PageUp: () => pick(picked - page()),
    Home: () => pick(0), End: () => pick(stream.rows - 1),
    n: () => nextStall(1), p: () => nextStall(-1),
    "+": () => setRowHeight(rowHeight * 1.5, middle()), "=": () => setRowHeight(rowHeight * 1.5, middle()),
    "-": () => setRowHeight(rowHeight / 1.5, middle()), 0: () => setRowHeight(0),
  };
  waterfall.addEventListener("keydown", (event) => {
    const act = event.ctrlKey || event.metaKey || event.altKey ? undefined : keys[event.key] ?? keys[event.key.toLowerCase()];
    if (!act) return;
    event.preventDefault();
    act();
  });
  waterfall.addEventListener("scroll", draw, { passive: true });
  waterfall.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    setRowHeight(rowHeight * (event.deltaY < 0 ? 1.2 : 1 / 1.2), Math.max(0, rowAt(event)));
  }, { passive: false });
  chart.addEventListener("mousemove", (event) => showTip(event, rowAt(event)));
  chart.addEventListener("mouseleave", () => { tip.hidden = true; });
  chart.addEventListener("click", (event) => { const row = rowAt(event); if (row >= 0) pick(row); });
  overview.addEventListener("click", (event) => {
    const box = overview.getBoundingClientRect(), begin = Math.min(0, stream.begins[0]), end = stream.ends[stream.rows - 1];
    const us = begin + ((event.clientX - box.left - 44) / (box.width - 48)) * (end - begin);
    let row = stream.ends.findIndex((each) => each >= us);
    if (row < 0) row = stream.rows - 1;
    const near = [...stream.stallAt.keys()].find((each) => Math.abs(stream.ends[each] - us) < ((end - begin) / box.width) * 6);
    pick(near ?? row, true);
  });
  $("timeline").addEventListener("click", () => setMode("timeline"));
  $("durations").addEventListener("click", () => setMode("durations"));
  $("in").addEventListener("click", () => setRowHeight(rowHeight * 1.5, middle()));
  $("out").addEventListener("click", () => setRowHeight(rowHeight / 1.5, middle()));
  $("fit").addEventListener("click", () => setRowHeight(0));
  window.addEventListener("resize", () => { if (stream) setRowHeight(rowHeight); });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColours(); draw(); });

  // --- go ------------------------------------------------------------------------------------------------

  readColours();
  $("legend").replaceChildren(...HOPS.map((hop) => make("span", {}, make("span", { cls: `swatch ${hop}` }), hop)));
  spans();
  others();
  if (data.streams.length > 1) {
    $("streams").hidden = false;
    $("streams").replaceChildren(...data.streams.map((each, i) => {
      const button = make("button", { type: "button", text: `${each.name} ${each.time.slice(11)}`, "aria-pressed": "false" });
      button.addEventListener("click", () => chooseStream(i));
      return button;
    }));
  }
  if (data.streams.length) chooseStream(0);
  else {
    $("name").textContent = `No stream in trace ${data.traceId}`;
    for (const id of ["rows", "facts"]) $(id).hidden = true;
    $("stalls").closest("section").hidden = true;
  }
})();
