// Owns: how numbers become text. Pure; seconds, bytes, bits per second and decibels in, strings out.

/** 65 -> "1:05", 3723 -> "1:02:03"; anything that is no time -> "0:00". */
export function clock(seconds) {
  const whole = Number.isFinite(seconds) && seconds > 0 ? Math.floor(seconds) : 0;
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const tail = `${hours ? String(minutes).padStart(2, "0") : minutes}:${String(rest).padStart(2, "0")}`;
  return hours ? `${hours}:${tail}` : tail;
}

/** A time as it is read aloud: 65 -> "1 minute 5 seconds". */
export function spokenTime(seconds) {
  const whole = Number.isFinite(seconds) && seconds > 0 ? Math.floor(seconds) : 0;
  const parts = [
    [Math.floor(whole / 3600), "hour"],
    [Math.floor(whole / 60) % 60, "minute"],
    [whole % 60, "second"],
  ].filter(([count, unit]) => count || (unit === "second" && whole < 60));
  return parts.map(([count, unit]) => `${count} ${unit}${count === 1 ? "" : "s"}`).join(" ");
}

/** 4294967296 -> "4.3 GB", in powers of 1000 as file managers count. */
export function bytes(count) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const power = count < 1000 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(count) / 3));
  const value = count / 1000 ** power;
  return `${value.toFixed(power && value < 100 ? 1 : 0)} ${units[power]}`;
}

/** 194310 -> "194 kbit/s". */
export function bitrate(bitsPerSecond) {
  return `${Math.round(bitsPerSecond / 1000)} kbit/s`;
}

/** A rendition as listeners call it: "320 kbit/s", "Opus 128 kbit/s", "Lossless 44.1 kHz / 16 bit". */
export function quality({ codec, bitrate: rate, sample_rate: hertz, bit_depth: bits }) {
  if (codec === "flac") return `Lossless ${frequency(hertz)}${bits ? ` / ${bits} bit` : ""}`;
  return codec === "opus" ? `Opus ${bitrate(rate)}` : bitrate(rate);
}

/** 44100 -> "44.1 kHz". */
export function frequency(hertz) {
  return `${Number((hertz / 1000).toFixed(2))} kHz`;
}

export function channels(count) {
  return { 1: "mono", 2: "stereo" }[count] ?? `${count} channels`;
}

function decibels(value) {
  return `${value > 0 ? "+" : ""}${value.toFixed(1)} dB`;
}

/**
 * What was measured and what is heard: "-9.8 LUFS → -14.0 LUFS, gain -4.2 dB, true peak -5.3 dBTP".
 * The true peak is the one that is heard, the highest of the renditions where they were measured. Silence has
 * no loudness.
 */
export function loudnessLine({ integrated_lufs: measured, gain_db: gain = 0, ...told }) {
  const { planned_lufs: planned, limit_dbtp: limit, true_peak_dbtp: peak, measured: renditions } = told;
  const parts = [];
  if (measured == null) parts.push("no measurable loudness");
  else if (gain) parts.push(`${measured.toFixed(1)} LUFS → ${(planned ?? measured + gain).toFixed(1)} LUFS`);
  else parts.push(`${measured.toFixed(1)} LUFS`);
  if (gain) parts.push(`gain ${decibels(gain)}`);
  if (limit != null) parts.push("peaks limited");
  const peaks = Object.values(renditions ?? {}).flatMap((coded) => coded.true_peak_dbtp ?? []);
  const heard = peaks.length ? Math.max(...peaks) : peak == null ? null : peak + gain;
  if (heard != null) parts.push(`true peak ${heard.toFixed(1)} dBTP`);
  return parts.join(", ");
}

/** The source beside the target, for those who want to know why that gain. */
export function loudnessReason({ integrated_lufs: measured, true_peak_dbtp: peak, range_lu: range, target_lufs: target }) {
  const source = [];
  if (measured != null) source.push(`${measured.toFixed(1)} LUFS`);
  if (peak != null) source.push(`true peak ${peak.toFixed(1)} dBTP`);
  if (range != null) source.push(`range ${range.toFixed(1)} LU`);
  const aim = target == null ? "" : `Target ${target.toFixed(1)} LUFS. `;
  return `${aim}${source.length ? `Source: ${source.join(", ")}.` : ""}`.trim();
}

const STAGES = {
  fetch: "Fetching",
  probe: "Inspecting",
  analyze: "Measuring",
  encode: "Encoding",
  publish: "Finishing",
  done: "Finishing",
};

/** A job's state in a word or two: "Playable, encoding 62 %". */
export function jobState({ status, stage, percent, playable }) {
  if (status !== "running") return { queued: "Waiting", completed: "Ready", failed: "Failed", cancelled: "Cancelled" }[status] ?? status;
  const doing = `${STAGES[stage] ?? "Working"} ${Math.round(percent ?? 0)} %`;
  return playable ? `Playable, ${doing.toLowerCase()}` : doing;
}
