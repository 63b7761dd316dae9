"use strict";

const TEXTS = {
  en: {
    intro: "Type a text and see the tokens it is expanded to, with their weights. Tokens of both texts are marked.",
    query: "Query", document: "Document", score: "Dot product", token: "Token", product: "Product",
    none: "No token is in both.", shared: (n) => `${n} ${n === 1 ? "token is" : "tokens are"} in both.`,
    dark: "Dark", light: "Light", metrics: "Metrics", key: "API key", use: "Use",
    timing: (t) => `${t.entries} tokens · ${t.total} ms (queue ${t.queue}, model ${t.inference}) · batch of ${t.batch}`,
    lookup: (t) => `${t.entries} tokens · ${t.total} ms, looked up without the model`,
    cut: "cut to the model's length",
    offline: "The server does not answer.",
    samples: { query: "treatment of diabetes", document: "Diabetes is treated with drugs or insulin." },
  },
  ko: {
    intro: "글을 입력하면 어떤 토큰으로 확장되는지 가중치와 함께 보여 줍니다. 두 글에 모두 있는 토큰은 색이 다릅니다.",
    query: "질의", document: "문서", score: "내적", token: "토큰", product: "곱",
    none: "두 글에 모두 있는 토큰이 없습니다.", shared: (n) => `두 글에 모두 있는 토큰 ${n}개`,
    dark: "어둡게", light: "밝게", metrics: "지표", key: "API 키", use: "사용",
    timing: (t) => `토큰 ${t.entries}개 · ${t.total} ms (대기 ${t.queue}, 모델 ${t.inference}) · 배치 ${t.batch}개`,
    lookup: (t) => `토큰 ${t.entries}개 · ${t.total} ms, 모델 없이 조회`,
    cut: "모델 길이에 맞춰 잘림",
    offline: "서버가 응답하지 않습니다.",
    samples: { query: "당뇨병 치료 방법", document: "당뇨병 환자는 혈당을 조절하기 위해 약이나 인슐린으로 치료한다." },
  },
};
const DELAY = 120; // ms without a key press before the text is sent
const SHOWN = 40; // bars of a text

const one = (selector, from = document) => from.querySelector(selector);
const sides = ["query", "document"].map((side) => {
  const section = one(`section[data-side="${side}"]`);
  return {
    side, input: one("textarea", section), timing: one(".timing", section), bars: one(".bars", section),
    vector: {}, answer: null, timer: 0, request: null,
  };
});
let language = localStorage.getItem("language") || (navigator.language.startsWith("ko") ? "ko" : "en");
let key = "";

function element(name, className, text) {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

function fail(message) {
  one("#error").textContent = message;
  one("#error").hidden = !message;
}

async function ask(path, options = {}) {
  const headers = { "Content-Type": "application/json" };
  if (key) headers.Authorization = `Bearer ${key}`;
  const answer = await fetch(path, { ...options, headers });
  if (answer.status === 401) one("#access").hidden = false;
  if (!answer.ok) throw new Error((await answer.json()).error);
  return answer;
}

function timingOf(answer, entries) {
  const parts = (answer.headers.get("server-timing") || "").split(", ").map((part) => part.split(";dur="));
  const timing = Object.fromEntries(parts.map(([name, ms]) => [name, Number(ms).toFixed(1)]));
  const batch = Number(answer.headers.get("x-batch-texts"));
  return { ...timing, entries, batch, cut: answer.headers.get("x-truncated") !== "0" };
}

async function encode(one) {
  one.request?.abort();
  if (!one.input.value.trim()) {
    Object.assign(one, { vector: {}, answer: null, request: null });
    return draw();
  }
  const request = (one.request = new AbortController());
  try {
    const body = JSON.stringify({ inputs: one.input.value, side: one.side, output: "tokens" });
    const answer = await ask("/v1/encode", { method: "POST", body, signal: request.signal });
    const [vector] = await answer.json();
    one.vector = vector;
    one.answer = timingOf(answer, Object.keys(vector).length);
    fail("");
  } catch (error) {
    if (error.name === "AbortError") return;
    fail(error instanceof TypeError ? TEXTS[language].offline : error.message);
  }
  draw();
}

function drawSide(one, other, most) {
  const texts = TEXTS[language];
  // An object's keys that look like numbers come first, whatever their weight.
  const heaviest = Object.entries(one.vector).sort((a, b) => b[1] - a[1]).slice(0, SHOWN);
  const rows = heaviest.map(([token, weight]) => {
    const row = element("li", token in other.vector ? "shared" : "", "");
    row.style.setProperty("--share", `${(100 * weight) / most}%`);
    row.append(element("span", "token", token), element("span", "weight", weight.toFixed(2)));
    return row;
  });
  one.bars.replaceChildren(...rows);
  if (rows.length) one.bars.tabIndex = 0;
  else one.bars.removeAttribute("tabindex");
  const said = one.answer && (one.answer.batch ? texts.timing(one.answer) : texts.lookup(one.answer));
  one.timing.textContent = said ? said + (one.answer.cut ? ` · ${texts.cut}` : "") : "";
}

function draw() {
  const [query, doc] = sides;
  const weights = sides.flatMap((one) => Object.values(one.vector));
  const most = Math.max(...weights, 0.01);
  drawSide(query, doc, most);
  drawSide(doc, query, most);
  const shared = Object.keys(query.vector).filter((token) => token in doc.vector)
    .map((token) => [token, query.vector[token], doc.vector[token], query.vector[token] * doc.vector[token]])
    .sort((a, b) => b[3] - a[3]);
  one("#score").textContent = shared.reduce((sum, row) => sum + row[3], 0).toFixed(2);
  one("#shared-note").textContent = shared.length ? TEXTS[language].shared(shared.length) : TEXTS[language].none;
  one("#match table").hidden = !shared.length;
  one("#match tbody").replaceChildren(...shared.map(([token, ...numbers]) => {
    const row = document.createElement("tr");
    row.append(element("td", "", token), ...numbers.map((number) => element("td", "", number.toFixed(2))));
    return row;
  }));
}

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function speak() {
  const texts = TEXTS[language];
  document.documentElement.lang = language;
  for (const shown of document.querySelectorAll("[data-text]")) shown.textContent = texts[shown.dataset.text];
  const other = language === "ko" ? "en" : "ko";
  one("#language").textContent = other === "ko" ? "한국어" : "English";
  one("#language").lang = other;
  one("#theme").textContent = isDark() ? texts.light : texts.dark;
  draw();
}

function fillSamples() {
  for (const one of sides) {
    const known = Object.values(TEXTS).map((texts) => texts.samples[one.side]);
    if (one.input.value && !known.includes(one.input.value)) continue; // what somebody typed stays
    one.input.value = TEXTS[language].samples[one.side];
    encode(one);
  }
}

async function start() {
  try {
    const info = await (await ask("/info")).json();
    one("#model").textContent = `${info.model_id} · ${info.variant} · ${info.device}`;
    fail("");
  } catch (error) {
    return fail(error instanceof TypeError ? TEXTS[language].offline : error.message);
  }
  fillSamples();
}

for (const side of sides) {
  side.input.addEventListener("input", () => {
    clearTimeout(side.timer);
    side.timer = setTimeout(() => encode(side), DELAY);
  });
}
one("#language").addEventListener("click", () => {
  language = language === "ko" ? "en" : "ko";
  localStorage.setItem("language", language);
  speak();
  fillSamples();
});
one("#theme").addEventListener("click", () => {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  localStorage.setItem("theme", document.documentElement.dataset.theme);
  speak();
});
one("#access").addEventListener("submit", (event) => {
  event.preventDefault();
  key = one("#key").value;
  one("#access").hidden = true;
  start();
});
const theme = localStorage.getItem("theme");
if (theme) document.documentElement.dataset.theme = theme;
speak();
start();
