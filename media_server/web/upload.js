// Owns: files on their way from this page to the server: choosing, dropping, sending a few at a time, and what
// becomes of each. A file the server took is a job and no longer ours.

import { Problem } from "./api.js";
import { bytes } from "./format.js";

const AT_ONCE = 2;

export class Upload {
  /** @param onAccepted called with the job that the server made of a file */
  constructor(workshop, { maxBytes, onAccepted }) {
    this.list = workshop.querySelector(".jobs");
    this.template = document.getElementById("transfer-template");
    this.maxBytes = maxBytes;
    this.onAccepted = onAccepted;
    this.waiting = [];
    this.sending = new Set();

    workshop.querySelector(".dropzone-limit").textContent =
      `Choose files or drop them anywhere: WAV, FLAC, MP3, M4A, AIFF, OGG, Opus${maxBytes ? `, up to ${bytes(maxBytes)}` : ""}`;
    const input = workshop.querySelector("input[type=file]");
    workshop.querySelector(".dropzone .button").addEventListener("click", () => input.click());
    input.addEventListener("change", () => {
      this.add(input.files);
      input.value = ""; // the same file may be chosen again
    });
    this.acceptDrops(workshop.querySelector(".curtain"));
    addEventListener("beforeunload", (event) => this.sending.size && event.preventDefault());
  }

  /** The whole page is the target: a file that misses a small one would replace the page. */
  acceptDrops(curtain) {
    document.body.append(curtain); // out of the column, over everything
    const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
    let depth = 0; // enter and leave come for every element on the way
    const show = (by) => {
      depth = by ? Math.max(0, depth + by) : 0;
      curtain.hidden = depth === 0;
    };
    addEventListener("dragenter", (event) => hasFiles(event) && show(1));
    addEventListener("dragleave", (event) => hasFiles(event) && show(-1));
    addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
    addEventListener("drop", (event) => {
      show(0);
      if (!hasFiles(event)) return;
      event.preventDefault();
      this.add(event.dataTransfer.files);
    });
  }

  add(files) {
    for (const file of files) {
      const item = this.template.content.cloneNode(true).firstElementChild;
      item.querySelector(".job-title").textContent = file.name;
      item.querySelector("progress").setAttribute("aria-label", `Sending ${file.name}`);
      item.querySelector(".transfer-cancel").setAttribute("aria-label", `Cancel ${file.name}`);
      const transfer = { file, item, request: null };
      item.querySelector(".transfer-cancel").addEventListener("click", () => this.drop(transfer));
      item.querySelector(".transfer-again").addEventListener("click", () => this.enqueue(transfer));
      this.list.prepend(item);
      if (this.maxBytes && file.size > this.maxBytes) {
        this.fail(transfer, { code: "source_too_large", message: `the file has ${bytes(file.size)}, the limit is ${bytes(this.maxBytes)}` }, false);
      } else this.enqueue(transfer);
    }
  }

  enqueue(transfer) {
    this.write(transfer, "waiting", "Waiting", 0);
    this.waiting.push(transfer);
    this.next();
  }

  next() {
    while (this.sending.size < AT_ONCE && this.waiting.length) this.send(this.waiting.shift());
  }

  /** XMLHttpRequest, because fetch tells nothing of how much of a body has gone out. */
  send(transfer) {
    const request = new XMLHttpRequest();
    transfer.request = request;
    this.sending.add(transfer);
    this.write(transfer, "sending", "Sending 0 %", 0);
    request.upload.addEventListener("progress", ({ loaded, total }) => {
      const percent = Math.round((100 * loaded) / (total || 1));
      this.write(transfer, "sending", percent < 100 ? `Sending ${percent} %` : "Storing", percent);
    });
    request.addEventListener("loadend", () => this.onAnswer(transfer));
    request.open("POST", "/dev/tracks");
    request.setRequestHeader("Accept", "application/json");
    const form = new FormData();
    form.append("file", transfer.file, transfer.file.name);
    request.send(form);
  }

  onAnswer(transfer) {
    const { request } = transfer;
    this.sending.delete(transfer);
    this.next();
    if (!transfer.item.isConnected) return; // cancelled
    if (request.status === 202) {
      transfer.item.remove();
      this.onAccepted(JSON.parse(request.responseText));
      return;
    }
    const problem = Problem.from(request.status, request.responseText);
    const mayHelp = request.status === 0 || request.status === 429 || request.status >= 500;
    const lost = request.status === 0 ? "the connection was lost while sending" : problem.message;
    this.fail(transfer, { code: problem.code, message: lost }, mayHelp);
  }

  fail(transfer, { code, message }, mayHelp) {
    this.write(transfer, "failed", "Not sent", 0);
    const error = transfer.item.querySelector(".job-error");
    error.querySelector("code").textContent = code ?? "";
    error.querySelector("span").textContent = message;
    error.querySelector("button").hidden = !mayHelp;
    error.hidden = false;
  }

  drop(transfer) {
    transfer.item.remove();
    this.waiting = this.waiting.filter((other) => other !== transfer);
    transfer.request?.abort();
  }

  write({ item }, status, words, percent) {
    item.dataset.status = status;
    item.querySelector(".job-state").textContent = words;
    item.querySelector(".job-error").hidden = true;
    const progress = item.querySelector("progress");
    progress.value = percent;
    progress.hidden = status === "failed";
  }
}
