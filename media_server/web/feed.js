// Owns: the line on which the server tells of jobs as they change (server-sent events), and that it is
// restored when it breaks. After each break the list is asked once, because events were missed.

import { listJobs } from "./api.js";

const LONGEST_PAUSE_S = 30;

export class Feed extends EventTarget {
  /** Events: "job" (a job), "state" (true while connected). */
  open() {
    this.pause = 1;
    this.connect();
    // A page in the browser's back-forward cache must not hold a connection.
    addEventListener("pagehide", () => this.close());
    addEventListener("pageshow", ({ persisted }) => persisted && this.connect());
  }

  connect() {
    this.close();
    this.source = new EventSource("/dev/jobs/events");
    this.source.addEventListener("job", ({ data }) => this.emit("job", JSON.parse(data)));
    this.source.addEventListener("open", () => this.onOpen());
    this.source.addEventListener("error", () => this.onError());
  }

  close() {
    clearTimeout(this.timer);
    this.source?.close();
  }

  async onOpen() {
    this.pause = 1;
    this.emit("state", true);
    try {
      const { jobs } = await listJobs();
      for (const job of jobs.reverse()) this.emit("job", job);
    } catch {
      this.onError();
    }
  }

  /** The browser reconnects by itself, except after an answer that was no event stream: then it gives up. */
  onError() {
    this.emit("state", false);
    if (this.source.readyState === EventSource.CONNECTING) return;
    this.close();
    this.timer = setTimeout(() => this.connect(), this.pause * 1000);
    this.pause = Math.min(LONGEST_PAUSE_S, this.pause * 2);
  }

  emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
