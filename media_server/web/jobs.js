// Owns: the list of jobs and what each says of itself, newest first.

import { jobState } from "./format.js";

const SHOWN = 20;
const ENDED = new Set(["completed", "failed", "cancelled"]);

/** A running job's track may be heard already: what is still being made is the rest of it, or files beside it. */
const isPlayable = ({ status, playable }) => status === "completed" || (status === "running" && playable);

export class Jobs {
  /**
   * @param onPlayable called with a job whose track went live while the page was looking, and when it is whole
   * @param onOpen called with the track id of such a job, or a finished one, that was clicked
   */
  constructor(list, { onPlayable, onOpen }) {
    this.list = list;
    this.template = document.getElementById("job-template");
    this.onPlayable = onPlayable;
    this.onOpen = onOpen;
    this.known = new Map(); // job id -> {job, item}
    this.opened = Date.now();
  }

  /** Show a job as it is now. News can come twice and, from two sources, late: an ended job stays ended. */
  show(job) {
    const before = this.known.get(job.job_id);
    if (before && ENDED.has(before.job.status) && !ENDED.has(job.status) && job.attempt <= before.job.attempt) return;
    const item = before?.item ?? this.insert(job);
    this.known.set(job.job_id, { job, item });
    this.write(item, job);
    const isNews = before?.job.status !== job.status || !isPlayable(before.job);
    if (!isPlayable(job) || !isNews) return;
    // One that was finished before the page was opened is history, not news.
    if (before || !job.finished_at || Date.parse(job.finished_at) >= this.opened) this.onPlayable(job);
  }

  insert(job) {
    const item = this.template.content.cloneNode(true).firstElementChild;
    item.dataset.jobId = job.job_id;
    item.dataset.createdAt = job.created_at;
    const older = [...this.list.children].find((other) => "jobId" in other.dataset && other.dataset.createdAt < job.created_at);
    this.list.insertBefore(item, older ?? null);
    item.querySelector(".job-title").addEventListener("click", () => this.onOpen(this.known.get(job.job_id).job.track_id));
    const surplus = [...this.list.querySelectorAll("[data-job-id]")].slice(SHOWN);
    for (const old of surplus) {
      this.known.delete(old.dataset.jobId);
      old.remove();
    }
    return item;
  }

  write(item, job) {
    item.dataset.status = job.status;
    item.dataset.stage = job.stage ?? "";
    const title = item.querySelector(".job-title");
    title.textContent = job.title || "Untitled";
    title.disabled = !isPlayable(job);
    item.querySelector(".job-state").textContent = jobState(job);
    const progress = item.querySelector("progress");
    progress.hidden = ENDED.has(job.status);
    progress.value = job.percent ?? 0;
    progress.setAttribute("aria-label", `Progress of ${job.title || "this job"}`);
    const error = item.querySelector(".job-error");
    error.hidden = !job.error;
    error.querySelector("code").textContent = job.error?.code ?? "";
    error.querySelector("span").textContent = job.error?.message ?? "";
  }
}
