// Requests to the service that this page comes from.

const TRIES = 4;

/** An answer that is no result: `status`, and one line for a person. */
export class Refusal extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

/** The answer to a request; where the service is busy, it is asked again after the time that it names. */
export async function call(path, body, signal) {
  const options = body === undefined
    ? { signal }
    : { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal };
  for (let tries = TRIES; ; tries--) {
    let answer;
    try {
      answer = await fetch(path, { credentials: "same-origin", cache: "no-store", ...options });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Refusal(0, "The service cannot be reached. Try again in a moment.");
    }
    if (answer.ok) return answer.status === 204 ? null : answer.json();
    if (tries > 1 && (answer.status === 429 || answer.status === 503)) {
      await pause(1000 * Math.min(5, Number(answer.headers.get("Retry-After")) || 1), signal);
      continue;
    }
    throw new Refusal(answer.status, await explained(answer));
  }
}

async function explained(answer) {
  try {
    const problem = await answer.json();
    return `${problem.title}: ${problem.detail} (request ${problem.request_id})`;
  } catch {
    return `The service answered with status ${answer.status}.`;
  }
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("stopped", "AbortError"));
    }, { once: true });
  });
}
