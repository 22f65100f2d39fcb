/* Doorbells: no frame is left lying (rpc/attention.h, rpc/shm_port.h, rpc/ring.h).
 *
 * Up to two producer processes write into a ring each of one consumer process. The consumer has a waiting thread W (an
 * executor: it polls, sleeps, or runs user code that may never return) and an I/O thread T, both of which drain under
 * one lock. Producer 0 sends calls, producer 1 sends urgent frames. A ring holds CAPACITY frames; what finds no room
 * waits in its producer's memory. A mortal producer may be killed at any step.
 *
 * Claim: whenever nothing can happen any more, no frame is left in a ring, nor in a live producer's memory; only calls
 * may be left, in the ring of a consumer that is busy (and looks when done).
 *
 * Memory is sequentially consistent here: what the code separates by a fence is simply one step after the other. What
 * happens without a fence (a store that becomes visible after a later load) is modelled by the broken variants, which do
 * the two the other way round. Each of these must fail:
 *   NO_SECOND_LOOK     who goes to sleep does not look again after saying so
 *   NO_LEAVING_LOOK    nor who leaves to run user code
 *   NO_PRODUCER_FENCE  the consumer's word is read before the frame is visible
 *   NO_COOLING_LOOK    a ring that is no longer hot is not looked at again
 *   COOLED_NOT_DRAINED what that look finds is left to the waiting thread
 *   HEAT_AFTER_DRAIN   a ring becomes hot only after it was drained
 *   NO_ROOM_LOOK       who has no room does not look again after saying so
 *   NO_WAITING_LOOK    nor who goes to sleep for want of room
 *   ROOM_WORD_TAKEN    the consumer takes back the word that says so, instead of the producer when it is done
 *   NOTE_BEFORE_RING   a bell is noted as rung before it is
 *   EPOCH_BEFORE_TAKE  a bell is taken back after its epoch has begun
 *
 * Epochs only rise, so all that counts of them is whether one is the current one: `noted` says that the last noted epoch
 * of a bell is, `current` that the one which a producer has read is. Whether two old epochs are the same is left open.
 */

/* How much of it; the defaults are the smallest that is worth a look. */
#ifndef FRAMES_0
#define FRAMES_0 2
#endif
#ifndef FRAMES_1
#define FRAMES_1 0
#endif
#ifndef MORTAL
#define MORTAL false /* or (me == 1), or true */
#endif
#ifndef COOLS
#define COOLS false  /* rings are hot or cold; else all are always hot */
#endif
#ifndef CAPACITY
#define CAPACITY 1
#endif

mtype = { UNATTENDED, ATTENDED, ASLEEP, BUSY };

/* Per ring. `hot` is its place among those always looked at, `hot_bit` hides its mark. */
byte frames[2];
byte queued[2];
bool waits[2];
bool marked[2];
bool hot[2] = !(COOLS);
bool hot_bit[2] = !(COOLS);

/* The consumer's attention. */
mtype state = UNATTENDED;
bool sleep_bell;
bool sleep_noted;
bool sleep_current[2];
bool io_bell;
bool io_noted;
bool io_current[2];

/* The producers', as far as they wait for room. A producer sleeps, or (unattended) its I/O thread does. */
bool asleep[2];
bool bell[2];

bool dead[2];
bool buried[2];  /* the consumer knows */

bool locked;
bool gone;       /* W is in user code for ever */

/* ------------------------------------------------------------------ the consumer's drain, under the lock */

inline Consume(i) {
  do
  :: frames[i] > 0 ->
    frames[i]--;
    /* RingConsumer::CheckRoom, ShmPort::RingBells */
    if
    :: waits[i] ->
#ifdef ROOM_WORD_TAKEN
      waits[i] = false;
#endif
      if
      :: asleep[i] -> bell[i] = true
      :: else
      fi
    :: else
    fi
  :: else -> break
  od
}

inline DrainHot(i) {
  if
  :: hot[i] ->
    Consume(i);
    if
    :: true
    :: COOLS ->                            /* ShmPort::Cool, CoolIdle */
      hot[i] = false;
      hot_bit[i] = false;
      marked[i] = false;
#ifndef NO_COOLING_LOOK
      if
      :: frames[i] > 0 ->
        marked[i] = true;
#ifndef COOLED_NOT_DRAINED
        again = true
#endif
      :: else
      fi
#endif
    fi
  :: else
  fi
}

inline DrainRing(i) {
#ifdef HEAT_AFTER_DRAIN
  if
  :: marked[i] && !hot_bit[i] -> hot_bit[i] = true; Consume(i); hot[i] = true
  :: else -> DrainHot(i)
  fi
#else
  if
  :: marked[i] && !hot_bit[i] -> hot[i] = true; hot_bit[i] = true   /* ShmPort::Heat */
  :: else
  fi;
  DrainHot(i)
#endif
}

/* ShmPort::Drain */
inline Drain() {
  do
  :: again = false;
#if FRAMES_1 > 0
    DrainRing(1);
#endif
    DrainRing(0);
    if
    :: again
    :: else -> break
    fi
  od
}

/* ShmPort::HasWork: place by place, then mark by mark. */
inline Look() {
  found = hot[0] && frames[0] > 0;
#if FRAMES_1 > 0
  found = found || (hot[1] && frames[1] > 0);
#endif
  if
  :: COOLS ->
    found = found || (marked[0] && !hot_bit[0]);
#if FRAMES_1 > 0
    found = found || (marked[1] && !hot_bit[1])
#endif
  :: else
  fi
}

inline Lock() { atomic { !locked -> locked = true } }
inline Unlock() { locked = false }

active proctype W() {
  bool found;
  bool again;
  do
  :: state = ATTENDED;
    Look();
    if
    :: found -> found = false; Lock(); Drain(); Unlock()
    :: !found ->                           /* polling no longer pays: Attention::PrepareSleep, Sleep */
      d_step { state = ASLEEP; sleep_noted = false; sleep_current[0] = false; sleep_current[1] = false };
#ifndef NO_SECOND_LOOK
      Look();
#endif
      if
      :: found -> found = false
      :: else ->
end_asleep:
        sleep_bell;
        sleep_bell = false
      fi
    :: found = false ->                    /* ShmPort::Leave: user code to run */
      Lock();
#ifdef NO_LEAVING_LOOK
      Drain();
#endif
      if
      :: state = BUSY
      :: state = UNATTENDED
      fi;
#ifndef NO_LEAVING_LOOK
      Look();
      do
      :: found -> Drain(); Look()
      :: else -> break
      od;
#endif
      Unlock();
      if
      :: true                              /* it returns */
      :: gone = true;                      /* it does not */
end_gone:
        false
      fi
    fi
  od
}

active proctype T() {
  bool again;
end_idle:
  do
  :: io_bell ->                            /* Attention::TakeIoBell */
#ifndef EPOCH_BEFORE_TAKE
    io_bell = false;
#endif
    d_step { io_noted = false; io_current[0] = false; io_current[1] = false };
#ifdef EPOCH_BEFORE_TAKE
    io_bell = false;
#endif
    Lock();
    Drain();
    Unlock()
  :: dead[0] && !buried[0] -> buried[0] = true; Lock(); Consume(0); Unlock()   /* ShmPort::PeerGone */
  :: dead[1] && !buried[1] -> buried[1] = true; Lock(); Consume(1); Unlock()
  od
}

/* ------------------------------------------------------------------ the producers */

inline MayDie() {
  if
  :: true
  :: MORTAL -> dead[me] = true; goto died
  fi
}

/* Rings unless the epoch that was read is noted already; then notes that epoch, which may be over by now. */
inline RingBell(its_bell, noted, current) {
  if
  :: !current || !noted ->
#ifdef NOTE_BEFORE_RING
    noted = current;
    MayDie();
    its_bell = true
#else
    its_bell = true;
    MayDie();
    noted = current
#endif
  :: !current || noted
  fi;
  current = false
}

inline ReadWord() {
  d_step { seen = state; sleep_current[me] = true }
}

/* PeerAttention::Notify. */
inline Notify() {
  if
  :: COOLS && !marked[me] -> marked[me] = true
  :: else
  fi;
#ifndef NO_PRODUCER_FENCE
  ReadWord();
#endif
  if
  :: seen == ASLEEP -> RingBell(sleep_bell, sleep_noted, sleep_current[me])
  :: seen == UNATTENDED || (seen == BUSY && urgent) -> io_current[me] = true; RingBell(io_bell, io_noted, io_current[me])
  :: else
  fi;
  d_step { urgent = (me == 1); seen = 0; sleep_current[me] = false }
}

/* ShmChannel::Flush. */
inline Flush() {
  do
  :: d_step { queued[me] > 0 && frames[me] < CAPACITY -> queued[me]--; frames[me]++; urgent = true }
  :: queued[me] > 0 && frames[me] >= CAPACITY ->
    waits[me] = true;
#ifdef NO_ROOM_LOOK
    break
#else
    if
    :: frames[me] < CAPACITY
    :: else -> break
    fi
#endif
  :: queued[me] == 0 -> waits[me] = false; break
  od
}

proctype Producer(bool me) {
  byte to_send = (me == 0 -> FRAMES_0 : FRAMES_1);
  mtype seen;
  bool urgent = (me == 1);
  bool unattended;
  if
  :: true
  :: to_send > CAPACITY -> d_step { unattended = true; asleep[me] = true }
  fi;
  do
  :: to_send > 0 ->
    to_send--;
#ifdef NO_PRODUCER_FENCE
    ReadWord();
#endif
    if
    :: d_step { queued[me] == 0 && frames[me] < CAPACITY -> frames[me]++ }
    :: d_step { queued[me] > 0 || frames[me] >= CAPACITY -> queued[me]++; urgent = true };
      Flush()
    fi;
    MayDie();
    Notify()
  :: to_send == 0 && queued[me] > 0 ->     /* waits for room */
    if
    :: unattended -> bell[me]; bell[me] = false   /* no valid end */
    :: else ->
      asleep[me] = true;
      if
#ifndef NO_WAITING_LOOK
      :: frames[me] < CAPACITY
#endif
      :: else -> bell[me]
      fi;
      d_step { bell[me] = false; asleep[me] = false }
    fi;
#ifdef NO_PRODUCER_FENCE
    ReadWord();
#endif
    Flush();
    Notify()
  :: to_send == 0 && queued[me] == 0 -> break
  od;
died:
  skip;
  d_step {
    if
    :: dead[me] -> queued[me] = 0
    :: else
    fi;
    sleep_current[me] = false;
    io_current[me] = false
  }
}

init {
  atomic {
    run Producer(0);
#if FRAMES_1 > 0
    run Producer(1)
#endif
  }
}

active proctype Watch() {
end_watch:
  timeout;
  assert(frames[1] == 0);
  assert(frames[0] == 0 || (gone && state == BUSY))
}
