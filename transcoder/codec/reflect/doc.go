// Package reflectcodec is the JSON codec of reference: protojson on dynamicpb
// behind the seam of transcoder/codec, with the house's strictness in front.
//
// Its place is beside the direct codec, inside the doors that speak JSON: it is
// the oracle of the direct codec's tests, and an operator may select it to
// settle a doubt. It must stay simple and obviously right; it is not fast, and
// must never decide what the direct codec decides otherwise.
package reflectcodec
