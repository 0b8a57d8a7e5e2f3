// What the drivers of the peers in Node share: keep so many in flight for so long, and one line of JSON.
export async function measure(seconds, inFlight, each, jobsOfOne = 1) {
  const times = [];
  const begin = process.hrtime.bigint();
  const until = begin + BigInt(Math.round(seconds * 1e9));
  let done = 0;
  async function lane() {
    while (process.hrtime.bigint() < until) {
      const from = process.hrtime.bigint();
      await each();
      times.push(Number(process.hrtime.bigint() - from) / 1e6);
      done += jobsOfOne;
    }
  }
  await Promise.all(Array.from({length: inFlight}, lane));
  const took = Number(process.hrtime.bigint() - begin) / 1e9;
  times.sort((a, b) => a - b);
  const at = (part) => times[Math.min(times.length - 1, Math.floor(times.length * part))];
  console.log(JSON.stringify({rate: done / took, p50_ms: at(0.5), p99_ms: at(0.99)}));
}

export const body = {user: 4711, name: 'somebody', text: 'a body of about 120 bytes, as usual'};

// Ends by id, whichever comes first: the end's event, or somebody who waits for it.
export class Ends {
  waiting = new Map();

  note(id) {
    const resolve = this.waiting.get(id);
    this.waiting.set(id, true);
    if (resolve) resolve();
  }

  async of(id) {
    if (!this.waiting.get(id)) await new Promise((resolve) => this.waiting.set(id, resolve));
    this.waiting.delete(id);
  }
}
