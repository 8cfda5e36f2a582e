package grad

// cases are one or more for every operator that has a rule or is undone: a name, the operator set, and the text of
// [model]. Their gradients by PyTorch are in testdata/oracle.json.
var cases = []struct {
	name  string
	opset int64
	text  string
}{
	{"Add", 17, `x:B,5,4 a:4
y = Add(x, a)`},
	{"Add of a scalar", 17, `x:B,5,4 a:1
b = Squeeze(a, [0])
y = Add(x, b)`},
	{"Add of an inner axis", 17, `x:B,5,4 a:B,1,4 c:5,1
z = Add(x, a)
y = Add(z, c)`},
	{"Add of itself", 17, `x:B,3
y = Add(x, x)`},
	{"Sub", 17, `x:B,5,4 a:5,1
y = Sub(a, x)`},
	{"Mul", 17, `x:B,5,4 a:4
y = Mul(x, a)`},
	{"Mul, learnable scale", 17, `x:B,5,4 s:1
y = Mul(x, s)`},
	{"Mul of itself", 17, `x:B,3
y = Mul(x, x)`},
	{"Mul, both broadcast", 17, `x:B,1,4 a:5,1
y = Mul(x, a)`},
	{"Div", 17, `x:B,5,4 posa:5,1
y = Div(x, posa)`},
	{"Div by what is larger", 17, `x:5,1 posa:B,5,4
y = Div(x, posa)`},
	{"Pow 2", 17, `x:B,4
y = Pow(x, 2.0)`},
	{"Pow 3", 17, `x:B,4
y = Pow(x, 3.0)`},
	{"Pow half", 17, `posx:B,4
y = Pow(posx, -0.5)`},
	{"Pow of an exponent", 17, `posx:B,4 p:4
y = Pow(posx, p)`},
	{"Pow of an integer", 17, `x:B,4
y = Pow(x, 2)`},
	{"Sum", 17, `x:B,5,4 a:4 b:5,1
y = Sum(x, a, b)`},
	{"Mean", 17, `x:B,5,4 a:4
y = Mean(x, a)`},
	{"Max", 17, `x:B,4 a:4
y = Max(x, a)`},
	{"Max of three", 17, `x:B,4 a:4 b:B,1
y = Max(x, a, b)`},
	{"Min", 17, `x:B,4
y = Min(x, 0.25)`},
	{"Max of one", 17, `x:B,4
y = Max(x)`},
	{"Clip", 17, `x:B,9
y = Clip(x, -0.7, 0.9)`},
	{"Clip without a lower bound", 17, `x:B,9
y = Clip(x, , 0.5)`},
	{"Where", 17, `x:B,5,4 a:4 !m:B,5,1
c = Greater(m, 0.0)
y = Where(c, x, a)`},
	{"Where, a mask of attention", 17, `x:B,3,4,4
y = Where({1,0,1,1}, x, -100.0)`},
	{"PRelu", 17, `x:B,5,4 s:4
y = PRelu(x, s)`},
	{"Neg", 17, `x:B,4
y = Neg(x)`},
	{"Exp", 17, `x:B,4
y = Exp(x)`},
	{"Log", 17, `posx:B,4
y = Log(posx)`},
	{"Sqrt", 17, `posx:B,4
y = Sqrt(posx)`},
	{"Reciprocal", 17, `posx:B,4
y = Reciprocal(posx)`},
	{"Abs", 17, `x:B,4
y = Abs(x)`},
	{"Sin", 17, `x:B,4
y = Sin(x)`},
	{"Cos", 17, `x:B,4
y = Cos(x)`},
	{"Erf", 17, `x:B,9
y = Erf(x)`},
	{"Tanh", 17, `x:B,9
y = Tanh(x)`},
	{"Sigmoid", 17, `x:B,9
y = Sigmoid(x)`},
	{"Softplus", 17, `x:B,9
y = Softplus(x)`},
	{"Relu", 17, `x:B,9
y = Relu(x)`},
	{"LeakyRelu", 17, `x:B,9
y = LeakyRelu<alpha=0.2>(x)`},
	{"Elu", 17, `x:B,9
y = Elu<alpha=0.7>(x)`},
	{"Selu", 17, `x:B,9
y = Selu(x)`},
	{"Softsign", 17, `x:B,9
y = Softsign(x)`},
	{"HardSigmoid", 17, `x:B,9
y = HardSigmoid<alpha=0.3>(x)`},
	{"HardSwish", 17, `x:B,9
y = HardSwish(x)`},
	{"Mish", 18, `x:B,9
y = Mish(x)`},
	{"Identity and Dropout", 17, `x:B,9
a = Identity(x)
y = Dropout(a)`},
	{"Cast to float16 and back", 17, `x:B,9
a = Cast<to=10>(x)
y = Cast<to=1>(a)`},
	{"CastLike", 17, `x:B,9 !m:1
y = CastLike(x, m)`},
	{"Swish", 24, `x:B,9
y = Swish<alpha=0.5>(x)`},
	{"Gelu by erf behind a product", 17, `x:B,5,4 w:4,6 b:6 p:6,3
a = MatMul(x, w)
u = Add(b, a)
z = Div(u, 1.41421356)
e = Erf(z)
v = Add(e, 1.0)
c = Mul(u, v)
d = Mul(c, 0.5)
y = MatMul(d, p)`},
	{"Gelu by erf, the half first", 17, `x:B,5,4 !w:4,6 !b:6
a = MatMul(x, w)
u = Add(a, b)
z = Mul(0.70710678, u)
e = Erf(z)
v = Add(1.0, e)
h = Mul(u, 0.5)
y = Mul(h, v)`},
	{"Gelu by erf, half of the sum", 17, `x:B,5,4 b:4
u = Add(x, b)
z = Mul(u, 0.70710678)
e = Erf(z)
v = Add(e, 1.0)
h = Mul(v, 0.5)
y = Mul(h, u)`},
	{"u(1 + erf(u/√2)) beside u", 17, `x:B,5,4 w:4,6 b:6
a = MatMul(x, w)
u = Add(a, b)
z = Mul(u, 0.70710678)
e = Erf(z)
v = Add(e, 1.0)
c = Mul(u, v)
y = Add(c, u)`},
	{"Gelu by erf", 17, `x:B,9
a = Div(x, 1.4142135)
b = Erf(a)
c = Add(b, 1.0)
d = Mul(x, c)
y = Mul(d, 0.5)`},
	{"Gelu by tanh", 17, `x:B,9
a = Pow(x, 3.0)
b = Mul(a, 0.044715)
c = Add(x, b)
d = Mul(c, 0.7978846)
e = Tanh(d)
f = Add(e, 1.0)
g = Mul(x, 0.5)
y = Mul(g, f)`},
	{"Gelu of 20", 20, `x:B,9
y = Gelu(x)`},
	{"Gelu of 20 by tanh", 20, `x:B,9
y = Gelu<approximate='tanh'>(x)`},
	{"QuickGelu in parts", 17, `x:B,9
a = Mul(x, 1.702)
b = Sigmoid(a)
y = Mul(x, b)`},
	{"SwiGLU", 17, `x:B,3,4 w:4,6 v:3,4
h = MatMul(x, w)
a, b = Split<axis=-1>(h, [3,3])
s = Sigmoid(a)
t = Mul(a, s)
u = Mul(t, b)
y = MatMul(u, v)`},
	{"LayerScale", 17, `x:B,3,4 w:4,4 g:4
h = MatMul(x, w)
s = Mul(h, g)
y = Add(x, s)`},
	{"Microsoft Gelu", 17, `x:B,9
y = com.microsoft.Gelu(x)`},
	{"FastGelu", 17, `x:B,9 b:9
y = com.microsoft.FastGelu(x, b)`},
	{"FastGelu without bias", 17, `x:B,9
y = com.microsoft.FastGelu(x)`},
	{"BiasGelu", 17, `x:B,9 b:9
y = com.microsoft.BiasGelu(x, b)`},
	{"QuickGelu", 17, `x:B,9
y = com.microsoft.QuickGelu<alpha=1.702>(x)`},
	{"MatMul", 17, `x:B,5,4 w:4,3
y = MatMul(x, w)`},
	{"MatMul of two axes", 17, `x:B,4 w:4,3
y = MatMul(x, w)`},
	{"MatMul, weight first", 17, `x:B,5,4 w:3,5
y = MatMul(w, x)`},
	{"MatMul of heads", 17, `x:B,3,5,4 k:B,3,4,5
y = MatMul(x, k)`},
	{"MatMul, a batch of weights", 17, `x:B,3,5,4 w:3,4,2
y = MatMul(x, w)`},
	{"MatMul, one query for all", 17, `q:1,3,1,4 k:B,3,4,5
y = MatMul(q, k)`},
	{"MatMul by a vector", 17, `x:B,5,4 w:4
y = MatMul(x, w)`},
	{"MatMul of a vector", 17, `x:4 w:B,4,3
y = MatMul(x, w)`},
	{"MatMul of one column", 17, `x:B,5,1 w:1,3
y = MatMul(x, w)`},
	{"Gemm", 17, `x:B,4 w:4,3 b:3
y = Gemm(x, w, b)`},
	{"Gemm transposed", 17, `x:4,3 w:2,4 b:3,1
y = Gemm<transA=1,transB=1,alpha=0.5,beta=2.0>(x, w, b)`},
	{"Gemm, B transposed", 17, `x:B,4 w:3,4 b:3
y = Gemm<transB=1>(x, w, b)`},
	{"Gemm, A transposed", 17, `x:4,3 w:4,2
y = Gemm<transA=1>(x, w)`},
	{"FusedMatMul", 17, `x:B,3,4,5 w:B,3,2,4
y = com.microsoft.FusedMatMul<transA=1,transB=1,alpha=0.5>(x, w)`},
	{"FusedMatMul, rows in front", 17, `x:5,2,3,4 w:4,2,3,2
y = com.microsoft.FusedMatMul<transBatchA=1,transBatchB=1,alpha=2.0>(x, w)`},
	{"FusedGemm", 17, `x:B,4 w:4,3 b:3
y = com.microsoft.FusedGemm<activation='Relu'>(x, w, b)`},
	{"Einsum", 17, `x:B,3,5,4 k:B,3,6,4
y = Einsum<equation='bhid,bhjd->bhij'>(x, k)`},
	{"Einsum, transposed", 17, `x:B,5
y = Einsum<equation='ij->ji'>(x)`},
	{"Softmax", 17, `x:B,3,5
y = Softmax(x)`},
	{"Softmax of an inner axis", 17, `x:B,3,5
y = Softmax<axis=1>(x)`},
	{"Softmax of 11", 11, `x:B,3,5
y = Softmax<axis=1>(x)`},
	{"LogSoftmax", 17, `x:B,3,5
y = LogSoftmax<axis=-1>(x)`},
	{"Attention in parts", 17, `x:B,5,6 w:6,18
h = MatMul(x, w)
a, b, c = Split<axis=2>(h, [6,6,6])
d = Reshape(a, [0,0,2,3])
q = Transpose<perm=[0,2,1,3]>(d)
e = Reshape(b, [0,0,2,3])
k = Transpose<perm=[0,2,3,1]>(e)
f = Reshape(c, [0,0,2,3])
v = Transpose<perm=[0,2,1,3]>(f)
s = MatMul(q, k)
p = Softmax(s)
o = MatMul(p, v)
g = Transpose<perm=[0,2,1,3]>(o)
y = Reshape(g, [0,0,6])`},
	{"LayerNormalization before products", 17, `x:B,5,4 g:4 s:4 w:4,3 b:3 p:4,3 o:3
n = LayerNormalization<epsilon=0.00001>(x, g, s)
a = MatMul(n, w)
c = Add(a, b)
f = Slice(n, [0], [1], [1])
e = MatMul(f, p)
h = Add(o, e)
y = Mul(c, h)`},
	{"LayerNormalization before frozen products", 17, `x:B,5,4 !g:4 !s:4 !w:4,3 !b:3 !p:4,3
n = LayerNormalization<epsilon=0.00001>(x, g, s)
a = MatMul(n, w)
c = Add(a, b)
e = LayerNormalization(x, g)
h = MatMul(e, p)
y = Mul(c, h)`},
	{"LayerNormalization trained before a frozen product", 17, `x:B,5,4 g:4 s:4 !w:4,3 !b:3
n = LayerNormalization<epsilon=0.00001>(x, g, s)
a = MatMul(n, w)
y = Add(a, b)`},
	{"LayerNormalization read by more than products", 17, `x:B,5,4 !g:4 !s:4 !w:4,4 !b:4
n = LayerNormalization<epsilon=0.00001>(x, g, s)
a = MatMul(n, w)
c = Add(a, b)
y = Mul(c, n)`},
	{"LayerNormalization", 17, `x:B,3,8 g:8 b:8
y = LayerNormalization<axis=-1,epsilon=0.00001>(x, g, b)`},
	{"LayerNormalization without bias", 17, `x:B,3,8 g:8
y = LayerNormalization(x, g)`},
	{"LayerNormalization of two axes", 17, `x:B,3,4 g:3,4 b:3,4
y = LayerNormalization<axis=1>(x, g, b)`},
	{"LayerNormalization in parts", 17, `x:B,3,8 g:8 b:8
m = ReduceMean<axes=[-1]>(x)
c = Sub(x, m)
q = Pow(c, 2.0)
v = ReduceMean<axes=[-1]>(q)
e = Add(v, 0.00001)
s = Sqrt(e)
u = Div(c, s)
h = Mul(u, g)
y = Add(h, b)`},
	{"RMSNormalization", 23, `x:B,3,8 g:8
y = RMSNormalization<axis=-1>(x, g)`},
	{"RMS norm in parts", 18, `x:B,3,8 g:8
q = Mul(x, x)
v = ReduceMean(q, [-1])
e = Add(v, 0.00001)
s = Sqrt(e)
r = Reciprocal(s)
u = Mul(x, r)
y = Mul(u, g)`},
	{"SimplifiedLayerNormalization", 17, `x:B,3,8 g:8
y = SimplifiedLayerNormalization<axis=-1,epsilon=0.00001>(x, g)`},
	{"SkipLayerNormalization", 17, `x:B,3,8 s:B,3,8 g:8 b:8 c:8
z, , , r = com.microsoft.SkipLayerNormalization<epsilon=0.00001>(x, s, g, b, c)
y = Add(z, r)`},
	{"SkipSimplifiedLayerNormalization", 17, `x:B,3,8 s:B,3,8 g:8
y = com.microsoft.SkipSimplifiedLayerNormalization<epsilon=0.00001>(x, s, g)`},
	{"BatchNormalization", 17, `x:B,3,4,4 g:3 b:3 !m:3 !posv:3
y = BatchNormalization(x, g, b, m, posv)`},
	{"InstanceNormalization", 17, `x:B,3,4 g:3 b:3
y = InstanceNormalization(x, g, b)`},
	{"GroupNormalization", 21, `x:B,4,3,2 g:4 b:4
y = GroupNormalization<num_groups=2>(x, g, b)`},
	{"LpNormalization", 17, `x:B,3,4
y = LpNormalization<axis=-1,p=2>(x)`},
	{"ReduceMean", 17, `x:B,5,4
y = ReduceMean<axes=[1],keepdims=0>(x)`},
	{"ReduceMean of 18", 18, `x:B,5,4
y = ReduceMean<keepdims=0>(x, [1])`},
	{"ReduceMean over the batch", 17, `x:B,5,4
y = ReduceMean<axes=[0,2]>(x)`},
	{"ReduceMean, subtracted", 17, `x:B,5,4
m = ReduceMean<axes=[-1]>(x)
y = Sub(x, m)`},
	{"ReduceSum", 17, `x:B,5,4
y = ReduceSum<keepdims=0>(x, [0,1])`},
	{"ReduceSum over everything", 17, `x:B,5,4
s = ReduceSum<keepdims=0>(x)
y = Unsqueeze(s, [0])`},
	{"ReduceSum, then broadcast", 17, `x:B,5,4 a:5,4
s = ReduceSum(x, [1])
y = Add(s, a)`},
	{"ReduceMax", 17, `x:B,5,4
y = ReduceMax<axes=[1],keepdims=0>(x)`},
	{"ReduceMin", 18, `x:B,5,4
y = ReduceMin(x, [-1])`},
	{"ReduceL1", 17, `x:B,5,4
y = ReduceL1<axes=[-1]>(x)`},
	{"ReduceL2", 17, `x:B,5,4
y = ReduceL2<axes=[-1],keepdims=0>(x)`},
	{"ReduceSumSquare", 17, `x:B,5,4
y = ReduceSumSquare<axes=[-1]>(x)`},
	{"ReduceLogSumExp", 17, `x:B,5,4
y = ReduceLogSumExp<axes=[-1]>(x)`},
	{"Rows of unit length", 17, `x:B,8
n = ReduceL2<axes=[-1]>(x)
c = Clip(n, 0.000001)
y = Div(x, c)`},
	{"GlobalAveragePool", 17, `x:B,3,4,4
y = GlobalAveragePool(x)`},
	{"GlobalMaxPool", 17, `x:B,3,4,4
y = GlobalMaxPool(x)`},
	{"Transpose", 17, `x:B,3,4
y = Transpose<perm=[1,2,0]>(x)`},
	{"Transpose, reversed", 17, `x:B,3,4
y = Transpose(x)`},
	{"Reshape", 17, `x:B,3,4
y = Reshape(x, [0,-1])`},
	{"Reshape of heads into the batch", 17, `x:B,3,4,2
a = Reshape(x, [-1,4,2])
b = Softmax<axis=1>(a)
y = Reshape(b, [-1,24])`},
	{"Reshape by Shape", 17, `x:B,3,4
s = Shape(x)
b = Gather(s, 0)
c = Unsqueeze(b, [0])
d = Concat<axis=0>(c, [12])
y = Reshape(x, d)`},
	{"Flatten", 17, `x:B,3,4
a = Flatten<axis=2>(x)
y = Reshape(a, [-1,12])`},
	{"Squeeze and Unsqueeze", 17, `x:B,1,4
a = Squeeze(x, [1])
y = Unsqueeze(a, [0,-1])`},
	{"Squeeze of 11", 11, `x:B,1,4
y = Squeeze<axes=[1]>(x)`},
	{"Concat", 17, `x:B,1,4 a:B,3,4
y = Concat<axis=1>(x, a)`},
	{"Concat of itself", 17, `x:B,4
y = Concat<axis=-1>(x, x)`},
	{"CLS token", 17, `c:1,1,4 x:B,3,4
s = Shape(x)
b = Slice(s, [0], [1], [0])
d = Concat<axis=0>(b, [-1,-1])
o = ConstantOfShape(b)
m = Concat<axis=0>(b, [1,4])
e = Expand(c, m)
y = Concat<axis=1>(e, x)`},
	{"Expand", 17, `x:1,3,1
y = Expand(x, [2,1,4])`},
	{"Tile", 17, `x:B,3,2
y = Tile(x, [1,2,3])`},
	{"Split", 17, `x:B,6
a, b, c = Split<axis=1>(x, [1,2,3])
d = Mul(b, 2.0)
e = Concat<axis=1>(c, d)
y = Concat<axis=1>(e, a)`},
	{"Split, a part unused", 17, `x:B,6
a, b, c = Split<axis=-1>(x, [2,2,2])
y = Mul(a, c)`},
	{"Split of 11", 11, `x:B,6
a, b = Split<axis=1,split=[2,4]>(x)
y = Concat<axis=1>(b, a)`},
	{"Split of 18", 18, `x:B,6
a, b = Split<axis=1,num_outputs=2>(x)
y = Mul(a, b)`},
	{"Slice", 17, `x:B,5,4
y = Slice(x, [1], [4], [1])`},
	{"Slice from the end", 17, `x:B,5,4
y = Slice(x, [-3], [-1], [1])`},
	{"Slice of two axes", 17, `x:B,5,4
y = Slice(x, [1,0], [9223372036854775807,2], [1,2])`},
	{"Slice by steps", 17, `x:B,7,4
y = Slice(x, [1], [6], [1], [2])`},
	{"Slice by steps of two axes", 17, `x:B,8,6
y = Slice(x, [1,0], [8,6], [1,2], [2,2])`},
	{"Slice backwards", 17, `x:B,5,4
y = Slice(x, [-1], [-9223372036854775807], [1], [-2])`},
	{"Slice of the batch", 17, `x:B,5,4
y = Slice(x, [0], [9223372036854775807], [0])`},
	{"Three slices of one", 17, `x:B,6
a = Slice(x, [0], [2], [1])
b = Slice(x, [2], [4], [1])
c = Slice(x, [4], [6], [1])
d = Mul(a, b)
y = Mul(d, c)`},
	{"Overlapping slices", 17, `x:B,6
a = Slice(x, [0], [4], [1])
b = Slice(x, [2], [6], [1])
y = Mul(a, b)`},
	{"Gather CLS", 17, `x:B,5,4
y = Gather<axis=1>(x, 0)`},
	{"Gather the last", 17, `x:B,5,4
y = Gather<axis=1>(x, -1)`},
	{"Gather neighbours", 17, `x:B,5,4
y = Gather<axis=1>(x, [1,2,3])`},
	{"Gather q, k, v", 17, `x:B,5,6,2
h = Reshape(x, [0,0,3,2,2])
t = Transpose<perm=[2,0,3,1,4]>(h)
q = Gather(t, 0)
k = Gather(t, 1)
v = Gather(t, 2)
a = Mul(q, k)
y = Mul(a, v)`},
	{"Gather of a table", 17, `x:6,3
y = Gather(x, [5,1,1,0,5,2])`},
	{"Gather out of order", 17, `x:B,5,4
y = Gather<axis=1>(x, [3,0,3])`},
	{"GatherND", 17, `x:6,3
i = Reshape([5,1,1,0], [2,2,1])
y = GatherND(x, i)`},
	{"ScatterND", 17, `x:5,3 u:2,3
i = Reshape([4,1], [2,1])
y = ScatterND(x, i, u)`},
	{"Pad", 17, `x:B,3,4
y = Pad(x, [0,1,0,0,2,3])`},
	{"Pad of 18, axes", 18, `x:B,3,4
y = Pad(x, [1,2], 0.5, [-1])`},
	{"Conv, patches", 17, `x:B,3,8,8 w:5,3,4,4 b:5
y = Conv<strides=[4,4]>(x, w, b)`},
	{"Conv", 17, `x:B,3,6,5 w:2,3,3,3 b:2
y = Conv<pads=[1,1,1,1],strides=[2,1]>(x, w, b)`},
	{"Conv, left over", 17, `x:B,2,6,6 w:2,2,3,3
y = Conv<strides=[2,2],pads=[1,1,1,1]>(x, w)`},
	{"Conv, dilated", 17, `x:B,2,8,8 w:2,2,3,3
y = Conv<dilations=[2,2]>(x, w)`},
	{"Conv by channel", 17, `x:B,4,5,5 w:4,1,3,3 b:4
y = Conv<group=4,pads=[1,1,1,1]>(x, w, b)`},
	{"Conv of groups", 17, `x:B,4,5,5 w:6,2,3,2
y = Conv<group=2,strides=[2,2]>(x, w)`},
	{"Conv of one axis", 17, `x:B,2,7 w:3,2,3
y = Conv<pads=[1,1]>(x, w)`},
	{"FusedConv", 17, `x:B,2,5,5 w:3,2,3,3 b:3
y = com.microsoft.FusedConv<activation='Relu'>(x, w, b)`},
	{"AveragePool", 17, `x:B,2,6,6
y = AveragePool<kernel_shape=[3,3],strides=[2,2],pads=[1,1,1,1]>(x)`},
	{"AveragePool, padding counted", 17, `x:B,2,5,5
y = AveragePool<kernel_shape=[3,3],pads=[1,1,1,1],count_include_pad=1>(x)`},
	{"MaxPool", 17, `x:B,2,6,6
y = MaxPool<kernel_shape=[3,3],strides=[2,2],pads=[1,1,1,1]>(x)`},
	{"Attention of 23", 23, `q:B,2,5,3 k:B,2,6,3 v:B,2,6,4
y = Attention(q, k, v)`},
	{"Attention of 23, heads joined", 23, `q:B,5,6 k:B,4,6 v:B,4,8 m:5,4
y = Attention<q_num_heads=2,kv_num_heads=2,scale=0.3>(q, k, v, m)`},
	{"Attention of 23, masked", 23, `q:B,2,3,4 k:B,2,5,4 v:B,2,5,4
c = Reshape({1,1,0,1,1, 1,1,1,1,1, 0,1,1,1,1}, [1,1,3,5])
y = Attention(q, k, v, c)`},
	{"MultiHeadAttention", 17, `q:B,5,6 k:B,4,6 v:B,4,8
y = com.microsoft.MultiHeadAttention<num_heads=2>(q, k, v)`},
	{"MultiHeadAttention with bias", 17, `q:B,5,6 k:B,5,6 v:B,5,6 b:18 a:1,2,5,5
y = com.microsoft.MultiHeadAttention<num_heads=2,scale=0.4>(q, k, v, b, , a)`},
	{"MultiHeadAttention, packed", 17, `x:B,5,2,3,4
y = com.microsoft.MultiHeadAttention<num_heads=2>(x)`},
	{"Microsoft Attention", 17, `x:B,5,6 w:6,18 b:18
y = com.microsoft.Attention<num_heads=2>(x, w, b)`},
	{"RotaryEmbedding of 23", 23, `x:B,2,5,8 !c:5,4 !s:5,4
p = Reshape([0,1,2,3,4, 4,3,2,1,0], [2,5])
y = RotaryEmbedding(x, c, s, p)`},
	{"RotaryEmbedding, interleaved and partial", 23, `x:B,5,16 !c:B,5,2 !s:B,5,2
y = RotaryEmbedding<num_heads=2,interleaved=1,rotary_embedding_dim=4>(x, c, s)`},
	{"Microsoft RotaryEmbedding", 17, `x:B,2,5,8 !c:5,4 !s:5,4
p = Reshape([0,1,2,3,4, 4,3,2,1,0], [2,5])
y = com.microsoft.RotaryEmbedding(x, p, c, s)`},
	{"Rotary in parts", 17, `x:B,2,5,8 !c:5,8 !s:5,8
a = Slice(x, [0], [4], [3])
b = Slice(x, [4], [8], [3])
n = Neg(b)
r = Concat<axis=-1>(n, a)
d = Mul(x, c)
e = Mul(r, s)
y = Add(d, e)`},
	{"Rotary in parts, interleaved", 17, `x:B,2,5,8 !c:5,8 !s:5,8
a = Slice(x, [0], [8], [3], [2])
b = Slice(x, [1], [8], [3], [2])
n = Neg(b)
u = Unsqueeze(n, [-1])
v = Unsqueeze(a, [-1])
w = Concat<axis=-1>(u, v)
r = Reshape(w, [0,0,0,8])
d = Mul(x, c)
e = Mul(r, s)
y = Add(d, e)`},
	{"A loss", 17, `x:B,6 w:6,5 beta:5 delta:5 !t:B,5
z = MatMul(x, w)
a = Mul(z, beta)
b = Add(a, delta)
l = LogSoftmax<axis=-1>(b)
m = Mul(l, t)
s = ReduceSum<keepdims=0>(m, [0,1])
n = Neg(s)
y = Reshape(n, [1])`},
}
