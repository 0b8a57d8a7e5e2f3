// bullmq.js REDIS_SOCKET worker | submit SECONDS IN_FLIGHT | bulk SECONDS | end SECONDS IN_FLIGHT
// As docs.bullmq.io advises: one connection shared, concurrency for many short jobs, addBulk,
// removeOnComplete; the ends by one QueueEvents.
import {Queue, QueueEvents, Worker} from 'bullmq';
import {body, Ends, measure} from './measure.js';

const [path, mode, seconds, inFlight] = process.argv.slice(2);
const connection = {path, maxRetriesPerRequest: null};
const options = {removeOnComplete: true};

if (mode === 'worker') {
  new Worker('jobs', async () => null, {connection, concurrency: 100});
} else if (mode === 'end') {
  const queue = new Queue('jobs', {connection, streams: {events: {maxLen: 100000}}});
  // From now on: by default what ends before its first read is missed.
  const events = new QueueEvents('jobs', {connection, lastEventId: `${Date.now()}-0`});
  const ends = new Ends();
  events.on('completed', ({jobId}) => ends.note(jobId));
  await events.waitUntilReady();
  await measure(Number(seconds), Number(inFlight), async () => {
    const {id} = await queue.add('noop', body, options);
    await ends.of(id);
  });
  process.exit(0);
} else {
  const queue = new Queue('parked', {connection});
  const bulk = Array.from({length: 1000}, () => ({name: 'noop', data: body, opts: options}));
  if (mode === 'bulk')
    await measure(Number(seconds), 2, () => queue.addBulk(bulk), 1000);
  else
    await measure(Number(seconds), Number(inFlight), () => queue.add('noop', body, options));
  process.exit(0);
}
