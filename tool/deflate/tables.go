package deflate

const (
	minLength   = 3
	maxLength   = 258
	maxDistance = 1 << 15

	endOfBlock  = 256
	firstLength = 257 // the symbol of the shortest lengths
	numLitLens  = 286
	numDists    = 30
)

// The lengths and distances of a match, as symbols with extra bits (3.2.5).
var (
	lengthSymbol [maxLength - minLength + 1]uint8 // of length-minLength; counted from firstLength
	lengthBase   [numLitLens - firstLength]uint8  // length-minLength that a symbol's extra bits count from
	lengthExtra  [numLitLens - firstLength]uint8  // how many they are
	distExtra    [numDists]uint8

	// distSymbols are the symbols of distances: of distance-1 up to 255, then of (distance-1)/128.
	distSymbols [512]uint8
)

func init() {
	base := 0
	for s := range lengthBase {
		if s >= 8 {
			lengthExtra[s] = uint8(s/4 - 1)
		}
		if s == len(lengthBase)-1 { // The longest has a symbol of its own, which the one before could say, too.
			base, lengthExtra[s] = maxLength-minLength, 0
		}
		lengthBase[s] = uint8(base)
		for range 1 << lengthExtra[s] {
			lengthSymbol[base] = uint8(s)
			base++
		}
	}
	base = 0
	for s := range distExtra {
		if s >= 4 {
			distExtra[s] = uint8(s/2 - 1)
		}
		for range 1 << distExtra[s] {
			if base < 256 {
				distSymbols[base] = uint8(s)
			}
			if base >= 256 {
				distSymbols[256+base>>7] = uint8(s)
			}
			base++
		}
	}
}

// distSymbol returns the symbol of a distance.
func distSymbol(distance int) uint32 {
	i := uint(distance - 1)
	if i >= 256 {
		i = 256 + i>>7
	}
	return uint32(distSymbols[i&511])
}

// A token is what a literal or a match is written as: nine bits that say which (a byte, or
// from 256 on a match's length), five of the distance's symbol, and the distance less one.
type token uint32

const (
	tokenMatch    = 256 // added to length-minLength
	tokenDistance = 9   // bits before the symbol of the distance
	tokenOffset   = 14  // bits before the distance less one

	// noDistance stands for the symbol of the distance in a literal. Its code has no bits, so that literals and matches
	// are written in the same way: no branch, which processors would often guess wrongly.
	noDistance = 31
)

func literal(b byte) token { return token(b) | noDistance<<tokenDistance }

func match(length int, symbol uint32, distance int) token {
	return token(length-minLength+tokenMatch) | token(symbol)<<tokenDistance | token(distance-1)<<tokenOffset
}
