package main

import (
	"hash/fnv"
	"math"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	trackingv1 "github.com/transomhq/transom/gen/shop/tracking/v1"
)

const (
	firstOrder, lastOrder = 1001, 1024 // the orders that somebody carries
	round                 = 600        // positions of one round through the town
	shortTrip             = 120        // positions of an order that arrives
	lostEvery             = 25         // after so many positions the careless courier drops out

	townLatitude, townLongitude = 52.0907, 5.1214
	metresPerDegree             = 111_320
)

// kind says how an order travels.
type kind int

const (
	// circling orders are carried round the town for ever, for demonstrations' sake.
	circling kind = iota
	// arriving orders are delivered after a short trip.
	arriving
	// careless orders are carried by somebody whose radio fails now and then.
	careless
)

// journey is the way of one order: a pure function of its id, the seed and the
// clock, so that every copy of the service numbers the same positions alike,
// also after a restart, without a memory.
type journey struct {
	kind     kind
	began    time.Time
	interval time.Duration
	shape    uint64 // the digits of the way's form
}

// find returns the journey of an order; ok is false if nobody carries it.
func find(orderID string, seed uint64, began time.Time, interval time.Duration) (j journey, ok bool) {
	digits, ok := strings.CutPrefix(orderID, "o-")
	number, err := strconv.Atoi(digits)
	if !ok || err != nil || number < firstOrder || number > lastOrder || strconv.Itoa(number) != digits {
		return journey{}, false
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(orderID + "/" + strconv.FormatUint(seed, 10))) // a hash never fails
	j = journey{began: began, interval: interval, shape: h.Sum64()}
	switch number % 10 {
	case 5:
		j.kind = arriving
	case 9:
		j.kind = careless
	default:
		j.kind = circling
	}
	return j, true
}

// last returns the number of the newest position at a time, 0 before the first.
func (j journey) last(now time.Time) uint64 {
	if now.Before(j.began) {
		return 0
	}
	n := uint64(now.Sub(j.began)/j.interval) + 1
	if j.kind == arriving {
		return min(n, shortTrip)
	}
	return n
}

// time returns when position n is taken.
func (j journey) time(n uint64) time.Time {
	return j.began.Add(time.Duration(n-1) * j.interval) //nolint:gosec // far below the end of time
}

// length is the number of positions from one warehouse stop to the next delivery.
func (j journey) length() uint64 {
	if j.kind == arriving {
		return shortTrip
	}
	return round
}

// at returns position n, from 1.
func (j journey) at(n uint64) *trackingv1.TrackOrderResponse {
	step := (n - 1) % j.length()
	left := j.length() - 1 - step
	here, next := j.place(step), j.place(step+1)
	metres := here.distance(next)
	position := &trackingv1.Position{
		Latitude: here.latitude, Longitude: here.longitude, AccuracyM: 3 + uint32((j.shape>>(n%48))&7), //nolint:gosec // 0 to 7
		Time: timestamppb.New(j.time(n)),
	}
	if left > 0 {
		position.Speed = float32(metres / j.interval.Seconds())
		position.Heading = proto.Float32(float32(here.heading(next)))
	}
	return &trackingv1.TrackOrderResponse{
		Sequence: n, Position: position, Leg: leg(step, left),
		RemainingM: uint32(metres * float64(left)), Eta: durationpb.New(time.Duration(left) * j.interval), //nolint:gosec // small
	}
}

func leg(step, left uint64) trackingv1.Leg {
	switch {
	case left == 0:
		return trackingv1.Leg_LEG_DELIVERED
	case step < 5:
		return trackingv1.Leg_LEG_WAREHOUSE
	case left < 30:
		return trackingv1.Leg_LEG_LAST_MILE
	}
	return trackingv1.Leg_LEG_ROAD
}

// point is a place on earth, in degrees.
type point struct{ latitude, longitude float64 }

// place is where the order is after so many steps: on a closed curve around
// the town, whose form follows from the shape.
func (j journey) place(step uint64) point {
	angle := 2 * math.Pi * float64(step%j.length()) / float64(j.length())
	petals := float64(2 + j.shape%4)
	radius := 0.01 + 0.004*math.Cos(petals*angle+float64(j.shape%63)/10)
	return point{
		latitude:  townLatitude + radius*math.Sin(angle),
		longitude: townLongitude + radius*math.Cos(angle)/math.Cos(townLatitude*math.Pi/180),
	}
}

// flat returns how far q lies north and east of p, in metres.
func (p point) flat(q point) (north, east float64) {
	return (q.latitude - p.latitude) * metresPerDegree,
		(q.longitude - p.longitude) * metresPerDegree * math.Cos(p.latitude*math.Pi/180)
}

// distance returns the metres from p to q, which are near each other.
func (p point) distance(q point) float64 { return math.Hypot(p.flat(q)) }

// heading returns the direction from p to q in degrees from north, clockwise.
func (p point) heading(q point) float64 {
	north, east := p.flat(q)
	return math.Mod(math.Atan2(east, north)*180/math.Pi+360, 360)
}
