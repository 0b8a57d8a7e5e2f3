// beequeue.js REDIS_SOCKET worker | submit SECONDS IN_FLIGHT | bulk SECONDS | end SECONDS IN_FLIGHT
// As its README advises for speed: producers with isWorker and getEvents off where they need neither,
// removeOnSuccess, saveAll, high concurrency.
import Queue from 'bee-queue';
import {body, measure} from './measure.js';

const [path, mode, seconds, inFlight] = process.argv.slice(2);
const redis = {path};

if (mode === 'worker') {
  const queue = new Queue('jobs', {redis, removeOnSuccess: true, storeJobs: false});
  queue.process(100, async () => null);
} else if (mode === 'end') {
  const queue = new Queue('jobs', {redis, isWorker: false, removeOnSuccess: true});
  await queue.ready();
  await measure(Number(seconds), Number(inFlight), () => new Promise((resolve, reject) => {
    const job = queue.createJob(body);
    job.on('succeeded', resolve);
    job.on('failed', reject);
    job.save().catch(reject);
  }));
  process.exit(0);
} else {
  const queue = new Queue('parked', {redis, isWorker: false, getEvents: false, sendEvents: false,
    storeJobs: false});
  await queue.ready();
  if (mode === 'bulk')
    await measure(Number(seconds), 2, () => queue.saveAll(
      Array.from({length: 1000}, () => queue.createJob(body))), 1000);
  else
    await measure(Number(seconds), Number(inFlight), () => queue.createJob(body).save());
  process.exit(0);
}
