"use strict";
addEventListener("DOMContentLoaded", () => {
  const CHECK = 0, INDEX = 1, CHUNK = 2;
  const $ = (id) => document.getElementById(id);
  const blocks = (kind) => [...document.querySelectorAll(`script[data-is="${kind}"]`)];
  const text = (kind) => blocks(kind)[0]?.textContent;
  const words = JSON.parse(text("words"));
  const utf8 = new TextEncoder();
  let header, key, files, chunks, playing;

  const say = (said) => { $("status").textContent = said; };
  const wrong = (said) => { say(""); $("alert").textContent = said; };

  function bytes(base64) {
    if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64);
    const text = atob(base64);
    const found = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i += 1) found[i] = text.charCodeAt(i);
    return found;
  }

  function nonce(kind, n) {
    const found = new DataView(new ArrayBuffer(12));
    found.setUint32(0, kind);
    found.setBigUint64(4, BigInt(n));
    return new Uint8Array(found.buffer);
  }

  const unseal = (kind, n, base64) => crypto.subtle.decrypt(
    { name: "AES-GCM", iv: nonce(kind, n), additionalData: utf8.encode(header) }, key, bytes(base64));

  async function derive(passphrase) {
    const { salt, rounds } = JSON.parse(header);
    const normal = passphrase.normalize("NFKC").toLowerCase().replaceAll("-", " ").trim().split(/\s+/).join("-");
    const secret = await crypto.subtle.importKey("raw", utf8.encode(normal), "PBKDF2", false, ["deriveKey"]);
    return crypto.subtle.deriveKey(
      { name: "PBKDF2", hash: "SHA-256", salt: bytes(salt), iterations: rounds }, secret,
      { name: "AES-GCM", length: 256 }, false, ["decrypt"]);
  }

  async function unlock(passphrase) {
    header = text("header");
    chunks = blocks("chunk");
    if (!header || !text("check") || !text("index")) return wrong(words.incomplete);
    say(words.opening);
    key = await derive(passphrase);
    try { await unseal(CHECK, 0, text("check")); } catch { return wrong(words.wrong); }
    let index;
    try { index = JSON.parse(new TextDecoder().decode(await unseal(INDEX, 0, text("index")))); } catch { return wrong(words.damaged); }
    if (index.chunks !== chunks.length) return wrong(words.incomplete);
    // Everything is looked at before anything is shown: what opens is all of it, and as it was made.
    for (let n = 0; n < chunks.length; n += 1) {
      try { await unseal(CHUNK, n, chunks[n].textContent); } catch { return wrong(words.damaged); }
      if (n % 8 === 7) say(`${words.checking} ${Math.round((n + 1) / chunks.length * 100)} %`);
    }
    files = index.files;
    show(index.index);
  }

  function show(index) {
    $("form").remove();
    say("");
    const content = $("content");
    content.innerHTML = index;
    content.hidden = false;
    content.querySelectorAll("[data-play]").forEach((button) => button.addEventListener("click", () => play(button)));
    content.querySelectorAll("[data-save]").forEach((button) => button.addEventListener("click", () => save(button.dataset.save)));
    const heading = content.querySelector("h1");
    heading.tabIndex = -1;
    heading.focus();
  }

  async function content(name) {
    const { type, first, chunks: n } = files[name];
    const parts = [];
    for (let i = first; i < first + n; i += 1) parts.push(await unseal(CHUNK, i, chunks[i].textContent));
    return URL.createObjectURL(new Blob(parts, { type }));
  }

  async function play(button) {
    if (playing) {
      URL.revokeObjectURL(playing.src);
      playing.remove();
    }
    playing = document.createElement("audio");
    playing.controls = true;
    playing.setAttribute("aria-label", button.getAttribute("aria-label"));
    playing.src = await content(button.dataset.play);
    (button.closest("td") ?? button.parentElement).append(playing);
    playing.focus();
    playing.play().catch(() => {});
  }

  async function save(name) {
    const link = document.createElement("a");
    link.href = await content(name);
    link.download = name.split("/").pop();
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  }

  if (!globalThis.crypto?.subtle) return wrong(words.old);
  if (!text("index")) wrong(words.incomplete);
  $("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    $("alert").textContent = "";
    const button = document.querySelector("#form button");
    button.disabled = true;
    try { await unlock($("passphrase").value); } catch { wrong(words.damaged); }
    button.disabled = false;
    if (!files) $("passphrase").focus();
  });
});
