// beequeue.js REDIS_SOCKET worker | submit SECONDS IN_FLIGHT | bulk SECONDS | end SECONDS IN_FLIGHT
// As its README advises for speed: producers with isWorker and getEvents off where they need neither,
// removeOnSuccess, saveAll, high concurrency.
import Queue from 'bee-queue';
import {body, Ends, measure} from './measure.js';

const [path, mode, seconds, inFlight] = process.argv.slice(2);
const redis = {path};

if (mode === 'worker') {
  const queue = new Queue('jobs', {redis, removeOnSuccess: true, storeJobs: false});
  queue.process(100, async () => null);
} else if (mode === 'end') {
  // By the queue's own event: a job's is missed if it ends before save() has come back.
  const queue = new Queue('jobs', {redis, isWorker: false, removeOnSuccess: true, storeJobs: false});
  const ends = new Ends();
  await queue.ready();
  queue.on('job succeeded', (id) => ends.note(id));
  await measure(Number(seconds), Number(inFlight), async () => {
    const {id} = await queue.createJob(body).save();
    await ends.of(id);
  });
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
